"""Why the gateway answers a request itself: the words of each cause, in AIBrix's where it has some.

Status, code and headers of each stand in `openai/error_table.py`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from math import ceil
from typing import TYPE_CHECKING

from gateway_plugin.exchange.replies import decision_headers
from gateway_plugin.openai import error_table as kinds
from gateway_plugin.openai.errors import ApiError
from ratelimit import CorruptUserRecord, Outcome, Source, StoreUnavailable
from ratelimit.users.key_owners import TooManyUnknownKeys

if TYPE_CHECKING:
    from ratelimit import Decision, Subject
    from ratelimit.windows.quotas import QuotaState

_MAX_ECHO_CHARACTERS = 200
"""Of what a client sent, in a message to it."""
_MAX_RETRY_AFTER_SECONDS = 59
"""Clients pass over a minute or more, and retry at once."""


def refusal_kinds() -> list[tuple[str, int]]:
    """Reason and status of every answer that says that somebody other than the client should act."""
    found = [kind for kind in vars(kinds).values() if isinstance(kind, kinds.ErrorKind)]
    return [(kind.reason, kind.status) for kind in found if kind.blame is not kinds.Blame.CLIENT]


def bad_credentials() -> ApiError:
    """401: the one answer to strangers, whatever is missing or wrong. Nothing in it may depend on what was sent."""
    return ApiError(kinds.BAD_TOKEN, "Incorrect API key provided", param="api_key")


def unknown_url(method: str, path: str) -> ApiError:
    """404: no such path here, whatever the engines may serve there."""
    message = f"Unknown request URL: {_short(method)} {_short(path.partition('?')[0])}. Please check the URL for typos."
    return ApiError(kinds.UNKNOWN_URL, message)


def wrong_method(method: str, path: str, allowed: tuple[str, ...]) -> ApiError:
    """405: the path is right."""
    message = f"Not allowed to {_short(method)} on {path}; allowed: {', '.join(allowed)}."
    return ApiError(kinds.WRONG_METHOD, message, headers={"allow": ", ".join(allowed)})


def anonymous() -> ApiError:
    """401: the operator serves only users."""
    return ApiError(kinds.ANONYMOUS, "who are you? send an API key or a user header")


def foreign_user() -> ApiError:
    """403: the user header names somebody else than the API key's owner."""
    return ApiError(kinds.FOREIGN_USER, "the user header contradicts the API key")


def usage_not_asked_for() -> ApiError:
    """400: a limited user's stream must report its tokens, where the operator wants clients to say so."""
    message = "include usage for stream options not set"
    headers = {"x-error-no-stream-options-include-usage": message}
    return ApiError(kinds.NO_USAGE, message, param="stream_options", headers=headers)


def bad_user_name(why: str) -> ApiError:
    """400: the user header cannot be a user's name."""
    return ApiError(kinds.BAD_USER, f"invalid user header: {why}")


def unknown_strategy(strategy: str, known: list[str]) -> ApiError:
    """400: no such routing strategy."""
    message = f"incorrect routing strategy {_short(strategy)}; known strategies: {', '.join(known)}"
    return ApiError(kinds.UNKNOWN_STRATEGY, message, param="routing-strategy")


def repeated_header(name: str) -> ApiError:
    """400: a header that decides something came more than once, so that it is not clear what it says."""
    return ApiError(kinds.REPEATED_HEADER, f"header {name} must not be repeated", param=name)


def bad_filter(why: str) -> ApiError:
    """400: the external-filter header is not a label selector that may be used."""
    return ApiError(kinds.BAD_FILTER, f"external-filter: {why}", param="external-filter")


def no_matching_pod(model: str) -> ApiError:
    """503: pods of the model are ready, but none passes the client's own filter."""
    message = f"error on selecting target pod: no ready pod of model {_short(model)} matches external-filter"
    return ApiError(kinds.NO_MATCHING_POD, message)


def wrong_content_type(content_type: str) -> ApiError:
    """415: a JSON endpoint was sent something else."""
    return ApiError(kinds.NOT_JSON, f"content-type must be application/json, not {_short(content_type)}")


def wants_multipart(path: str) -> ApiError:
    """400: an endpoint that takes forms was sent something else. Of audio in AIBrix's words."""
    what = "audio" if path.startswith("/v1/audio/") else "these"
    return ApiError(kinds.NOT_A_FORM, f"{what} requests must use multipart/form-data content-type")


def unknown_coding(encoding: str) -> ApiError:
    """415: the model's name cannot be read from a body that is compressed in another way."""
    message = f"content-encoding {_short(encoding)} of requests is not supported; send gzip, deflate, or none"
    return ApiError(kinds.UNKNOWN_CODING, message)


def bad_coding(why: str) -> ApiError:
    """400: a compressed body cannot be unpacked."""
    return ApiError(kinds.BAD_BODY, f"the compressed request body cannot be read: {why}")


def unknown_model(model: str) -> ApiError:
    """400: nobody serves this model."""
    headers = {"x-error-no-model-backends": _header_safe(model)}
    return ApiError(kinds.UNKNOWN_MODEL, f"model {_short(model)} does not exist", param="model", headers=headers)


def unknown_response(response_id: str, param: str) -> ApiError:
    """404: there is no such response, or it is somebody else's, which must look the same."""
    message = f"Response with id '{_short(response_id)}' not found."
    return ApiError(kinds.UNKNOWN_RESPONSE, message, param=param)


def lost_response(response_id: str, param: str) -> ApiError:
    """404: the pod that kept the response is gone, and the response with it."""
    message = f"Response with id '{_short(response_id)}' not found: the pod that kept it is gone."
    return ApiError(kinds.LOST_RESPONSE, message, param=param)


def no_ready_pod(model: str) -> ApiError:
    """503: the model is known, but no pod can take the request now."""
    return ApiError(kinds.NO_READY_POD, f"error on getting pods for model {_short(model)}: none is ready")


def check_listeners(refusal: str) -> None:
    """Raises ApiError 503 for a stream of events that nobody has room for."""
    if refusal:
        raise too_many_listeners(refusal)


def too_many_listeners(refusal: str) -> ApiError:
    """503: as many streams of events are open as may be."""
    return ApiError(kinds.TOO_MANY_LISTENERS, f"{refusal}, try again")


def overloaded(what: str) -> ApiError:
    """503: more work than the operator lets in."""
    return ApiError(kinds.OVERLOADED, f"{what}, try again")


def too_many_uploads() -> ApiError:
    """503: more request bodies are on their way than may be waited for, in all or from one address."""
    return overloaded("too many requests wait for their bodies")


def upload_timed_out() -> ApiError:
    """408: the client did not send all of its body in time."""
    return ApiError(kinds.UPLOAD_TIMEOUT, "the request body did not arrive in time")


def body_too_large() -> ApiError:
    """413: Envoy let a body pass that is longer than the plugin takes."""
    return ApiError(kinds.BODY_TOO_LARGE, "the request body is too long")


def answer_to(fault: Exception) -> ApiError | None:
    """What the limiter says instead of a decision, as an answer; None for what is none of its faults."""
    for kind_of_fault, (kind, message) in _ANSWERS.items():
        if isinstance(fault, kind_of_fault):
            return ApiError(kind, message)
    return None


def internal_error() -> ApiError:
    """500: a mistake of ours; the log has the cause."""
    return ApiError(kinds.INTERNAL_ERROR, "internal error in the gateway")


def refused(subject: Subject, model: str, model_requests_per_second: int, decision: Decision) -> ApiError:
    """The answer to an admission decision that was not "admitted"."""
    kind, text = _REFUSALS[decision.outcome]
    limits = decision.limits
    message = text.format(
        who=f"source: {subject.address}" if isinstance(subject, Source) else f"user: {_short(subject)}",
        model=_short(model),
        rpm=limits.requests_per_minute if limits else 0,
        tpm=limits.tokens_per_minute if limits else 0,
        parallel=limits.max_parallel if limits else 0,
        rps=model_requests_per_second,
    )
    if kind.status != 429:
        return ApiError(kind, message)
    if decision.quota is not None and kind is kinds.QUOTA_EXCEEDED:
        return _quota_spent(message, decision.quota, decision)
    return ApiError(kind, message, headers=_wait(decision.retry_after_seconds) | decision_headers(decision))


def _quota_spent(who: str, quota: QuotaState, decision: Decision) -> ApiError:
    """Nobody shall try again every minute for a month: `x-should-retry`, which OpenAI's clients follow, says so."""
    whose = "" if quota.scope == "user" else f" of its {quota.scope}"
    at = datetime.fromtimestamp(quota.returns_at_seconds, UTC).isoformat().replace("+00:00", "Z")
    message = (
        f"{who} has used up its quota of {quota.kind} for the {quota.period}{whose}: {quota.limit}; it returns at {at}"
    )
    headers = {"retry-after": str(max(1, ceil(quota.reset_seconds)))}
    return ApiError(kinds.QUOTA_EXCEEDED, message, headers=headers | decision_headers(decision))


def _wait(seconds: float) -> dict[str, str]:
    """Clients pass over more than a minute, and some over a whole one; who reads milliseconds waits no longer."""
    milliseconds = min(max(1, ceil(seconds * 1000)), _MAX_RETRY_AFTER_SECONDS * 1000)
    return {"retry-after": str(-(-milliseconds // 1000)), "retry-after-ms": str(milliseconds)}


_ANSWERS: dict[type[Exception], tuple[kinds.ErrorKind, str]] = {
    StoreUnavailable: (kinds.LIMITER_UNAVAILABLE, "the rate limiter cannot be reached, try again"),
    TooManyUnknownKeys: (kinds.OVERLOADED, "too many unknown API keys, try again"),
    CorruptUserRecord: (kinds.CORRUPT_USER, "the record of this user cannot be read; ask the operator to update it"),
}
FAULTS = tuple(_ANSWERS)
"""What `answer_to` knows."""

_REFUSALS = {
    Outcome.UNKNOWN_USER: (kinds.UNKNOWN_USER, "{who} does not exist"),
    Outcome.DISABLED: (kinds.DISABLED_USER, "{who} is disabled"),
    Outcome.MODEL_NOT_ALLOWED: (kinds.MODEL_NOT_ALLOWED, "{who} may not use model {model}"),
    Outcome.REQUESTS_EXCEEDED: (kinds.RPM_EXCEEDED, "{who} has exceeded RPM: {rpm}"),
    Outcome.TOKENS_EXCEEDED: (kinds.TPM_EXCEEDED, "{who} has exceeded TPM: {tpm}"),
    Outcome.PARALLEL_EXCEEDED: (kinds.PARALLEL_EXCEEDED, "{who} has exceeded parallel requests: {parallel}"),
    Outcome.QUOTA_EXCEEDED: (kinds.QUOTA_EXCEEDED, "{who}"),
    Outcome.MODEL_RATE_EXCEEDED: (kinds.MODEL_RPS_EXCEEDED, "model: {model} has exceeded RPS: {rps}"),
}


def _short(text: str) -> str:
    return text if len(text) <= _MAX_ECHO_CHARACTERS else text[:_MAX_ECHO_CHARACTERS] + "..."


def _header_safe(text: str) -> str:
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in _short(text)).strip() or "true"
