"""Every error that the gateway answers itself, by blame: status, code, headers, what it means, what to do.

The exchange and the HTTP APIs answer from this one table; docs/errors.md is written from it. Statuses and `x-error-*`
headers are AIBrix's, so that its clients and dashboards keep working, except where AIBrix's answer misleads: an unknown
user is 401 and not 500, and a limiter that cannot be reached is 503 and says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Blame(Enum):
    """Whose matter an error is; the value is a heading of docs/errors.md."""

    CLIENT = "The request is wrong"
    REFUSED = "The caller may not"
    OVERLOADED = "Too much at once"
    NO_POD = "No pod can answer"
    STORE_AWAY = "The store is away"
    OURS = "The gateway failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorKind:
    """One kind of error. `reason` is its label in metrics and logs; kinds that operators need not tell apart share
    one. `headers` are those that every such answer has."""

    blame: Blame
    status: int
    reason: str
    code: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    means: str
    do: str


_USER = {"x-error-user": "true"}
_ROUTING = {"x-error-routing": "true"}
_BODY = {"x-error-request-body-processing": "true"}
_SOON = {"retry-after": "1"}
_CORRECT = "correct the request; the message names what is wrong"
_WAIT = "wait as long as `Retry-After` says"
_AGAIN = "try again, with growing pauses"


def _mistake(
    status: int,
    reason: str,
    code: str | None,
    means: str,
    do: str = _CORRECT,
    headers: Mapping[str, str] | None = None,
) -> ErrorKind:
    return ErrorKind(
        blame=Blame.CLIENT, status=status, reason=reason, code=code, means=means, do=do, headers=headers or {}
    )


def _refusal(
    status: int, reason: str, code: str, means: str, do: str, headers: Mapping[str, str] | None = None
) -> ErrorKind:
    return ErrorKind(
        blame=Blame.REFUSED, status=status, reason=reason, code=code, means=means, do=do, headers=headers or {}
    )


# The request ---------------------------------------------------------------------------------------------------------

BAD_BODY = _mistake(400, "bad_body", None, "the body cannot be read, or a field of it", headers=_BODY)
BAD_FORM = _mistake(
    400, "bad_body", None, "the multipart form cannot be read", headers={"x-error-multipart-parsing": "true"}
)
NO_MODEL = _mistake(400, "no_model", None, "no `model` in the body", headers={"x-error-no-model-in-request": "true"})
UNKNOWN_MODEL = _mistake(
    400,
    "unknown_model",
    "model_not_found",
    "nobody serves this model; header `x-error-no-model-backends` names it",
    "ask `GET /v1/models` for those there are",
)
NO_USAGE = _mistake(
    400,
    "no_usage",
    None,
    "the operator wants streams of limited users to report tokens (`usage.stream_usage: require`)",
    'send `"stream_options": {"include_usage": true}`',
)
BAD_USER = _mistake(400, "bad_user", None, "the user header cannot be a user's name", headers=_USER)
UNKNOWN_STRATEGY = _mistake(400, "unknown_strategy", None, "no such routing strategy", headers=_ROUTING)
REPEATED_HEADER = _mistake(
    400, "repeated_header", None, "a header that decides something came more than once", headers=_ROUTING
)
BAD_FILTER = _mistake(
    400, "bad_filter", None, "`external-filter` is no label selector that may be used", headers=_ROUTING
)
NOT_A_FORM = _mistake(400, "content_type", None, "the endpoint takes multipart forms only", headers=_BODY)
NOT_JSON = _mistake(415, "content_type", None, "the endpoint takes JSON only", headers=_BODY)
UNKNOWN_CODING = _mistake(
    415,
    "content_type",
    None,
    "the body is compressed in a way that is not read here",
    "send gzip, deflate, or none",
    _BODY | {"accept-encoding": "gzip, deflate"},
)
UNKNOWN_URL = _mistake(404, "unknown_url", "unknown_url", "no such path", "see docs/endpoints.md")
WRONG_METHOD = _mistake(405, "wrong_method", "method_not_supported", "the path is right, the method is not")
UNKNOWN_RESPONSE = _mistake(
    404, "unknown_response", "not_found", "there is no such response, or it is somebody else's", "start a new one"
)
UPLOAD_TIMEOUT = _mistake(408, "upload_timeout", "request_timeout", "the body did not arrive in time", _AGAIN)
BODY_TOO_LARGE = _mistake(413, "body_too_large", "request_too_large", "the body is too long", "send less")

# The HTTP APIs -------------------------------------------------------------------------------------------------------

BAD_QUERY = _mistake(400, "bad_query", "invalid_query", "a parameter of the query cannot be used")
BAD_PATH = _mistake(400, "bad_path", None, "not a path that goes to models")
BAD_VALUE = _mistake(422, "bad_value", None, "a value cannot be used; `param` names it")
BAD_NAME = _mistake(422, "bad_name", None, "a name has control characters, or spaces around it")
BAD_WEBHOOK = _mistake(422, "bad_webhook", None, "a value of a webhook cannot be used; `param` names it")
NO_SUCH_MODEL = _mistake(404, "unknown_model", "model_not_found", "there is no such model, or it may not be seen")
NO_SUCH_USER = _mistake(404, "unknown_user", "user_not_found", "there is no such user")
UNKNOWN_KEY = _mistake(404, "unknown_key", "key_not_found", "the user has no such key")
UNKNOWN_ALIAS = _mistake(404, "unknown_alias", "alias_not_found", "there is no such alias")
UNKNOWN_RULE = _mistake(404, "unknown_rule", "rule_not_found", "there is no such rule")
UNKNOWN_WEBHOOK = _mistake(404, "unknown_webhook", "webhook_not_found", "there is no such webhook, or dead letter")
UNKNOWN_REQUEST = _mistake(
    404, "unknown_request", "not_found", "this replica knows nothing of the request", "ask the other replicas"
)
NO_SUCH_GROUP = _mistake(404, "unknown_group", "group_not_found", "there is no such group")
NO_LEDGER = _mistake(404, "no_ledger", "usage_not_kept", "no usage ledger is kept", "set `usage.ledger`")
NO_GROUPS = _mistake(400, "no_groups", "groups_not_possible", "the store is a cluster, or holds as many as it may")
GROUP_EXISTS = _mistake(409, "group_exists", "group_exists", "the group exists", "use PATCH to change it")
USER_EXISTS = _mistake(409, "user_exists", "user_exists", "the user exists", "use PUT to change it")
OTHER_NAME = _mistake(409, "other_name", "name_mismatch", "path and body name different users")
TOO_MANY_KEYS = _mistake(409, "too_many_keys", "too_many_keys", "the user has as many keys as one may have")
TOO_MANY_WEBHOOKS = _mistake(409, "too_many_webhooks", "too_many_webhooks", "there are as many webhooks as may be")
REGISTRY_CONFLICT = _mistake(409, "registry_conflict", "conflict", "what is asked contradicts what is registered")

# The caller ----------------------------------------------------------------------------------------------------------

BAD_TOKEN = _refusal(
    401,
    "bad_token",
    "invalid_api_key",
    "the API key or bearer token is missing or wrong",
    "send a key that is valid",
    {"www-authenticate": "Bearer"},
)
BAD_ADMIN_TOKEN = _refusal(
    401, "bad_admin_token", "invalid_api_key", "the admin token is missing or wrong", "send `Authorization: Bearer`"
)
ANONYMOUS = _refusal(401, "anonymous", "user_required", "only users are served", "send an API key, or a user", _USER)
UNKNOWN_USER = _refusal(401, "unknown_user", "invalid_user", "there is no such user", "ask the operator", _USER)
FOREIGN_USER = _refusal(
    403, "foreign_user", "user_mismatch", "the user header names another than the key's owner", "leave it out", _USER
)
DISABLED_USER = _refusal(403, "disabled_user", "user_disabled", "the user is disabled", "ask the operator", _USER)
MODEL_NOT_ALLOWED = _refusal(
    403, "model_not_allowed", "model_not_allowed", "the user may not use this model", "ask the operator", _USER
)
_LIMITED = "rate_limit_exceeded"
RPM_EXCEEDED = _refusal(
    429, "rpm_exceeded", _LIMITED, "requests per minute are spent", _WAIT, {"x-error-rpm-exceeded": "true"}
)
TPM_EXCEEDED = _refusal(
    429, "tpm_exceeded", _LIMITED, "tokens per minute are spent", _WAIT, {"x-error-tpm-exceeded": "true"}
)
PARALLEL_EXCEEDED = _refusal(
    429, "parallel_exceeded", _LIMITED, "too many requests at once", _WAIT, {"x-error-parallel-exceeded": "true"}
)
QUOTA_EXCEEDED = _refusal(
    429,
    "quota_exceeded",
    "insufficient_quota",
    "a quota of the hour, day or month is spent",
    "wait until it returns, which the message says",
    {"x-error-quota-exceeded": "true", "x-should-retry": "false"},
)
MODEL_RPS_EXCEEDED = _refusal(
    429,
    "model_rps_exceeded",
    _LIMITED,
    "the model's requests per second are spent",
    _WAIT,
    {"x-error-model-rps-exceeded": "true"},
)

# The service ---------------------------------------------------------------------------------------------------------

OVERLOADED = ErrorKind(
    blame=Blame.OVERLOADED,
    status=503,
    reason="overloaded",
    code="overloaded",
    headers=_SOON | _ROUTING,
    means="more work, uploads or unknown keys than the operator lets in",
    do=_WAIT,
)
TOO_MANY_LISTENERS = ErrorKind(
    blame=Blame.OVERLOADED,
    status=503,
    reason="overloaded",
    headers={"retry-after": "10"},
    means="as many event streams are open as may be",
    do=_WAIT,
)
NO_READY_POD = ErrorKind(
    blame=Blame.NO_POD,
    status=503,
    reason="no_ready_pod",
    code="service_unavailable",
    headers={"x-error-no-model-backends": "true"} | _SOON,
    means="the model is known, but none of its pods is ready",
    do=_AGAIN,
)
NO_MATCHING_POD = ErrorKind(
    blame=Blame.NO_POD,
    status=503,
    reason="no_matching_pod",
    code="service_unavailable",
    headers=_ROUTING,
    means="pods are ready, but none matches `external-filter`",
    do="loosen the filter",
)
LOST_RESPONSE = ErrorKind(
    blame=Blame.NO_POD,
    status=404,
    reason="lost_response",
    code="not_found",
    means="the pod that kept the response is gone, and the response with it",
    do="start a new one",
)
LIMITER_UNAVAILABLE = ErrorKind(
    blame=Blame.STORE_AWAY,
    status=503,
    reason="limiter_unavailable",
    code="service_unavailable",
    headers=_USER | _SOON,
    means="the limits of this user cannot be checked (`users.store_down: closed`, or a key nobody knows yet)",
    do=_AGAIN,
)
STORE_UNAVAILABLE = ErrorKind(
    blame=Blame.STORE_AWAY,
    status=503,
    reason="store_unavailable",
    code="service_unavailable",
    headers=_SOON,
    means="the users or models cannot be read or written",
    do=_AGAIN,
)
CORRUPT_USER = ErrorKind(
    blame=Blame.OURS,
    status=500,
    reason="corrupt_user",
    headers=_USER,
    means="what is stored for the user is not a user record",
    do="the operator writes it anew: PUT, UpdateUser, or a deletion",
)
INTERNAL_ERROR = ErrorKind(
    blame=Blame.OURS,
    status=500,
    reason="internal_error",
    means="a mistake of the gateway; its log has the cause",
    do="report it, with the request id",
)

KINDS = tuple(value for value in tuple(globals().values()) if isinstance(value, ErrorKind))
"""All of them, in the order of this file."""
