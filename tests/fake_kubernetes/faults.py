"""Faults that a test asks for."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.fake_kubernetes.errors import ApiError

_REASONS = {401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 409: "Conflict", 410: "Expired"}
_REASONS |= {429: "TooManyRequests", 500: "InternalError", 503: "ServiceUnavailable", 504: "Timeout"}


@dataclass(slots=True)
class _Failure:
    code: int
    verb: str
    resource: str
    left: int

    def takes(self, verb: str, resource: str) -> bool:
        return self.left > 0 and self.verb in ("", verb) and self.resource in ("", resource)


@dataclass(slots=True)
class Faults:
    """All off at first."""

    gone_as_status: bool = False
    """A watch from a forgotten version is answered with HTTP 410; otherwise with 200 and an ERROR event, as usual."""
    list_delay_seconds: float = 0.0
    """Lists are answered late."""
    watch_delay_seconds: float = 0.0
    """Every event waits this long before it is sent."""
    mute_watches: bool = False
    """Watches stay open and say nothing, as behind a broken load balancer."""
    cut_after_events: int = 0
    """Every watch loses its connection after this many events, in the middle of the next line; 0: never."""
    refuse_events: bool = False
    """Nobody may create Kubernetes Events."""
    _failures: list[_Failure] = field(default_factory=list)

    def fail(self, code: int, *, verb: str = "", resource: str = "", times: int = 1) -> None:
        """The next `times` requests with this verb (get, list, watch, create ...) on this plural get this code."""
        self._failures.append(_Failure(code, verb, resource, times))

    def heal(self) -> None:
        """No more failures."""
        self._failures.clear()

    def check(self, verb: str, resource: str) -> None:
        """Raises the failure that is due."""
        if self.refuse_events and (verb, resource) == ("create", "events"):
            raise ApiError(403, "Forbidden", "events is forbidden")
        for failure in self._failures:
            if failure.takes(verb, resource):
                failure.left -= 1
                reason = _REASONS.get(failure.code, "InternalError")
                raise ApiError(failure.code, reason, f"{verb} of {resource} fails on demand")
