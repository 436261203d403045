"""`grpc.health.v1.Health` for any transport: Check answers at once, Watch follows a service until its client goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from gateway_plugin.grpc.calls import INTERNAL

if TYPE_CHECKING:
    from gateway_plugin.grpc.calls import Call, Method, Methods

SERVICE = "/grpc.health.v1.Health/"

_NOT_FOUND = 5


class GrpcHealth:
    """The status of each service by name; "" is the whole server."""

    def __init__(self, names: tuple[str, ...] = ("",)) -> None:
        self._serving: dict[str, bool] = dict.fromkeys(names, False)
        self._watching: dict[str, set[WatchCall]] = {name: set() for name in names}

    def set_serving(self, serving: bool) -> None:
        """All services at once; who watches hears of a change."""
        for name, before in self._serving.items():
            self._serving[name] = serving
            if serving != before:
                for call in self._watching[name]:
                    call.tell()

    def methods(self) -> Methods:
        """What a transport serves."""
        return {SERVICE + "Check": self._method(CheckCall), SERVICE + "Watch": self._method(WatchCall)}

    def status(self, name: str) -> bytes | None:
        """A serialized answer; None for a service that is not here."""
        if name not in self._serving:
            return None
        return _SERVING if self._serving[name] else _NOT_SERVING

    def watchers(self, name: str) -> set[WatchCall]:
        """Who follows a service; one that is not here never changes."""
        return self._watching.get(name, set())

    def _method(self, kind: type[CheckCall | WatchCall]) -> Method:
        return lambda call: kind(call, self)


class _HealthCall:
    """What both calls share: one request, by name of a service."""

    def __init__(self, call: Call, health: GrpcHealth) -> None:
        self._call = call
        self._health = health
        self._name: str | None = None

    def received(self, message: bytes) -> None:
        """The request."""
        try:
            name = HealthCheckRequest.FromString(message).service
        except DecodeError:
            self._call.finish(INTERNAL, "not a HealthCheckRequest")
            return
        if self._name is None:
            self._name = name
            self._asked(name)

    def half_closed(self) -> None:
        """The client has said everything."""
        if self._name is None:
            self._call.finish(INTERNAL, "no HealthCheckRequest")

    def ended(self) -> None:
        """Nothing is held."""

    def _asked(self, name: str) -> None:
        raise NotImplementedError


class CheckCall(_HealthCall):
    """One question, one answer."""

    def _asked(self, name: str) -> None:
        status = self._health.status(name)
        if status is None:
            self._call.finish(_NOT_FOUND, "unknown service")
            return
        self._call.send(status)
        self._call.finish()


class WatchCall(_HealthCall):
    """The status now, and whenever it changes."""

    def ended(self) -> None:
        """The client has gone."""
        if self._name is not None:
            self._health.watchers(self._name).discard(self)

    def tell(self) -> None:
        """Sends the status."""
        assert self._name is not None
        self._call.send(self._health.status(self._name) or _UNKNOWN)

    def _asked(self, name: str) -> None:
        self._health.watchers(name).add(self)
        self.tell()


def _answer(status: HealthCheckResponse.ServingStatus) -> bytes:
    return bytes(HealthCheckResponse(status=status).SerializeToString())


_SERVING = _answer(HealthCheckResponse.SERVING)
_NOT_SERVING = _answer(HealthCheckResponse.NOT_SERVING)
_UNKNOWN = _answer(HealthCheckResponse.SERVICE_UNKNOWN)
