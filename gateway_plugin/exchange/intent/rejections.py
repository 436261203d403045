"""Why the gateway answers a request itself: status, message and `x-error-*` header of each cause.

They are AIBrix's, so that its clients and dashboards keep working, except where AIBrix's answer misleads: an unknown
user is 401 and not 500, and a limiter that cannot be reached is 503 and says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from gateway_plugin.exchange.replies import decision_headers
from gateway_plugin.openai.errors import ApiError
from ratelimit import Outcome, Source

if TYPE_CHECKING:
    from ratelimit import Decision, Subject

_MAX_ECHO_CHARACTERS = 200
_MAX_RETRY_AFTER_SECONDS = 59


def bad_credentials() -> ApiError:
    """401: the one answer to strangers, whatever is missing or wrong. Nothing in it may depend on what was sent."""
    message, headers = "Incorrect API key provided", {"www-authenticate": "Bearer"}
    return ApiError(401, message, reason="bad_token", code="invalid_api_key", param="api_key", headers=headers)


def unknown_url(method: str, path: str) -> ApiError:
    """404: no such path here, whatever the engines may serve there."""
    message = f"Unknown request URL: {_short(method)} {_short(path.partition('?')[0])}. Please check the URL for typos."
    return ApiError(404, message, reason="unknown_url", code="unknown_url")


def wrong_method(method: str, path: str, allowed: tuple[str, ...]) -> ApiError:
    """405: the path is right."""
    message = f"Not allowed to {_short(method)} on {path}; allowed: {', '.join(allowed)}."
    headers = {"allow": ", ".join(allowed)}
    return ApiError(405, message, reason="wrong_method", code="method_not_supported", headers=headers)


def anonymous() -> ApiError:
    """401: the operator serves only users."""
    message = "who are you? send an API key or a user header"
    return ApiError(401, message, reason="anonymous", code="user_required", headers={"x-error-user": "true"})


def foreign_user() -> ApiError:
    """403: the user header names somebody else than the API key's owner."""
    message = "the user header contradicts the API key"
    return ApiError(403, message, reason="foreign_user", code="user_mismatch", headers={"x-error-user": "true"})


def usage_not_asked_for() -> ApiError:
    """400: a limited user's stream must report its tokens, where the operator wants clients to say so."""
    message = "include usage for stream options not set"
    headers = {"x-error-no-stream-options-include-usage": message}
    return ApiError(400, message, reason="no_usage", param="stream_options", headers=headers)


def bad_user_name(why: str) -> ApiError:
    """400: the user header cannot be a user's name."""
    return ApiError(400, f"invalid user header: {why}", reason="bad_user", headers={"x-error-user": "true"})


def unknown_strategy(strategy: str, known: list[str]) -> ApiError:
    """400: no such routing strategy."""
    message = f"incorrect routing strategy {_short(strategy)}; known strategies: {', '.join(known)}"
    return ApiError(
        400, message, reason="unknown_strategy", param="routing-strategy", headers={"x-error-routing": "true"}
    )


def repeated_header(name: str) -> ApiError:
    """400: a header that decides something came more than once, so that it is not clear what it says."""
    message = f"header {name} must not be repeated"
    return ApiError(400, message, reason="repeated_header", param=name, headers={"x-error-routing": "true"})


def bad_filter(why: str) -> ApiError:
    """400: the external-filter header is not a label selector that may be used."""
    message = f"external-filter: {why}"
    return ApiError(400, message, reason="bad_filter", param="external-filter", headers={"x-error-routing": "true"})


def no_matching_pod(model: str) -> ApiError:
    """503: pods of the model are ready, but none passes the client's own filter."""
    return ApiError(
        503,
        f"error on selecting target pod: no ready pod of model {_short(model)} matches external-filter",
        reason="no_matching_pod",
        code="service_unavailable",
        headers={"x-error-routing": "true"},
    )


def wrong_content_type(content_type: str) -> ApiError:
    """415: a JSON endpoint was sent something else."""
    message = f"content-type must be application/json, not {_short(content_type)}"
    return ApiError(415, message, reason="content_type", headers={"x-error-request-body-processing": "true"})


def wants_multipart(path: str) -> ApiError:
    """400: an endpoint that takes forms was sent something else. Of audio in AIBrix's words."""
    what = "audio" if path.startswith("/v1/audio/") else "these"
    message = f"{what} requests must use multipart/form-data content-type"
    return ApiError(400, message, reason="content_type", headers={"x-error-request-body-processing": "true"})


def unknown_coding(encoding: str) -> ApiError:
    """415: the model's name cannot be read from a body that is compressed in another way."""
    message = f"content-encoding {_short(encoding)} of requests is not supported; send gzip, deflate, or none"
    headers = {"x-error-request-body-processing": "true", "accept-encoding": "gzip, deflate"}
    return ApiError(415, message, reason="content_type", headers=headers)


def bad_coding(why: str) -> ApiError:
    """400: a compressed body cannot be unpacked."""
    message = f"the compressed request body cannot be read: {why}"
    return ApiError(400, message, reason="bad_body", headers={"x-error-request-body-processing": "true"})


def unknown_model(model: str) -> ApiError:
    """400: nobody serves this model."""
    return ApiError(
        400,
        f"model {_short(model)} does not exist",
        reason="unknown_model",
        code="model_not_found",
        param="model",
        headers={"x-error-no-model-backends": _header_safe(model)},
    )


def unknown_response(response_id: str, param: str) -> ApiError:
    """404: there is no such response, or it is somebody else's, which must look the same."""
    message = f"Response with id '{_short(response_id)}' not found."
    return ApiError(404, message, reason="unknown_response", code="not_found", param=param)


def lost_response(response_id: str, param: str) -> ApiError:
    """404: the pod that kept the response is gone, and the response with it."""
    message = f"Response with id '{_short(response_id)}' not found: the pod that kept it is gone."
    return ApiError(404, message, reason="lost_response", code="not_found", param=param)


def no_ready_pod(model: str) -> ApiError:
    """503: the model is known, but no pod can take the request now."""
    return ApiError(
        503,
        f"error on getting pods for model {_short(model)}: none is ready",
        reason="no_ready_pod",
        code="service_unavailable",
        headers={"x-error-no-model-backends": "true", "retry-after": "1"},
    )


def check_listeners(refusal: str) -> None:
    """Raises ApiError 503 for a stream of events that nobody has room for."""
    if refusal:
        raise ApiError(503, f"{refusal}, try again", reason="overloaded", headers={"retry-after": "10"})


def overloaded(what: str) -> ApiError:
    """503: more work than the operator lets in."""
    return ApiError(
        503,
        f"{what}, try again",
        reason="overloaded",
        code="overloaded",
        headers={"retry-after": "1", "x-error-routing": "true"},
    )


def too_many_uploads() -> ApiError:
    """503: more request bodies are on their way than may be waited for, in all or from one address."""
    return overloaded("too many requests wait for their bodies")


def too_many_unknown_keys() -> ApiError:
    """503: this key is not known here, and too many such were looked up just now to look for another."""
    return overloaded("too many unknown API keys")


def upload_timed_out() -> ApiError:
    """408: the client did not send all of its body in time."""
    return ApiError(408, "the request body did not arrive in time", reason="upload_timeout", code="request_timeout")


def body_too_large() -> ApiError:
    """413: Envoy let a body pass that is longer than the plugin takes."""
    return ApiError(413, "the request body is too long", reason="body_too_large", code="request_too_large")


def limiter_unavailable() -> ApiError:
    """503: the limits of this user cannot be checked now."""
    return ApiError(
        503,
        "the rate limiter cannot be reached, try again",
        reason="limiter_unavailable",
        code="service_unavailable",
        headers={"x-error-user": "true", "retry-after": "1"},
    )


def corrupt_user() -> ApiError:
    """500: what is stored for this user is not a user record."""
    message = "the record of this user cannot be read; ask the operator to update it"
    return ApiError(500, message, reason="corrupt_user", headers={"x-error-user": "true"})


def internal_error() -> ApiError:
    """500: a mistake of ours; the log has the cause."""
    return ApiError(500, "internal error in the gateway", reason="internal_error")


def refused(subject: Subject, model: str, model_requests_per_second: int, decision: Decision) -> ApiError:
    """The answer to an admission decision that was not "admitted"."""
    refusal = _REFUSALS[decision.outcome]
    limits = decision.limits
    message = refusal.message.format(
        who=f"source: {subject.address}" if isinstance(subject, Source) else f"user: {_short(subject)}",
        model=_short(model),
        rpm=limits.requests_per_minute if limits else 0,
        tpm=limits.tokens_per_minute if limits else 0,
        parallel=limits.max_parallel if limits else 0,
        rps=model_requests_per_second,
    )
    headers = {refusal.header: "true"}
    if refusal.status == 429:
        headers |= _wait(decision.retry_after_seconds) | decision_headers(decision)
    return ApiError(refusal.status, message, reason=refusal.reason, code=refusal.code, headers=headers)


def _wait(seconds: float) -> dict[str, str]:
    """Clients pass over more than a minute, and some over a whole one; who reads milliseconds waits no longer."""
    milliseconds = min(max(1, ceil(seconds * 1000)), _MAX_RETRY_AFTER_SECONDS * 1000)
    return {"retry-after": str(-(-milliseconds // 1000)), "retry-after-ms": str(milliseconds)}


@dataclass(frozen=True, slots=True)
class _Refusal:
    status: int
    message: str
    header: str
    reason: str
    code: str


_REFUSALS = {
    Outcome.UNKNOWN_USER: _Refusal(401, "{who} does not exist", "x-error-user", "unknown_user", "invalid_user"),
    Outcome.DISABLED: _Refusal(403, "{who} is disabled", "x-error-user", "disabled_user", "user_disabled"),
    Outcome.MODEL_NOT_ALLOWED: _Refusal(
        403, "{who} may not use model {model}", "x-error-user", "model_not_allowed", "model_not_allowed"
    ),
    Outcome.REQUESTS_EXCEEDED: _Refusal(
        429, "{who} has exceeded RPM: {rpm}", "x-error-rpm-exceeded", "rpm_exceeded", "rate_limit_exceeded"
    ),
    Outcome.TOKENS_EXCEEDED: _Refusal(
        429, "{who} has exceeded TPM: {tpm}", "x-error-tpm-exceeded", "tpm_exceeded", "rate_limit_exceeded"
    ),
    Outcome.PARALLEL_EXCEEDED: _Refusal(
        429,
        "{who} has exceeded parallel requests: {parallel}",
        "x-error-parallel-exceeded",
        "parallel_exceeded",
        "rate_limit_exceeded",
    ),
    Outcome.MODEL_RATE_EXCEEDED: _Refusal(
        429,
        "model: {model} has exceeded RPS: {rps}",
        "x-error-model-rps-exceeded",
        "model_rps_exceeded",
        "rate_limit_exceeded",
    ),
}


def _short(text: str) -> str:
    return text if len(text) <= _MAX_ECHO_CHARACTERS else text[:_MAX_ECHO_CHARACTERS] + "..."


def _header_safe(text: str) -> str:
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in _short(text)).strip() or "true"
