"""The way of one request through the modules, as it runs: a limited chat request, from its first message to its end.

Counted are the modules whose functions are called and the changes of room: calls and returns that go from a module of
one room to a module of another.
"""

from __future__ import annotations

import asyncio
import sys
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.exchange_cost import messages_of
from gateway_plugin.app.assembly import Assembly
from gateway_plugin.settings.settings import Settings
from ratelimit import UserRecord
from routing.spec import ClusterState, PodSpec
from tests.house.plan import PACKAGES, ROOT, room_of

if TYPE_CHECKING:
    from types import FrameType

_INIT = "__init__.py"


class Way:
    """Modules in the order in which they were entered; a module follows itself never."""

    def __init__(self) -> None:
        self.entered: list[str] = []

    def follow(self, frame: FrameType, event: str, _argument: object) -> None:
        """For `sys.setprofile`."""
        if event in ("call", "return"):
            at = frame if event == "call" else frame.f_back
            module = _module_of(at.f_code.co_filename) if at is not None else None
            if module is not None and (not self.entered or self.entered[-1] != module):
                self.entered.append(module)

    @property
    def modules(self) -> list[str]:
        """Each once, in the order of the first visit."""
        return list(dict.fromkeys(self.entered))

    @property
    def changes_of_room(self) -> int:
        """How often the next module stands in another room."""
        rooms = [room_of(name) for name in self.entered]
        return sum(one != other for one, other in pairwise(rooms))


def _module_of(file_name: str) -> str | None:
    path = Path(file_name)
    if not path.is_relative_to(ROOT):
        return None
    relative = path.relative_to(ROOT)
    if relative.parts[0] not in PACKAGES or path.name == _INIT or path.stem.endswith("_pb2"):
        return None
    return ".".join(relative.with_suffix("").parts)


class _Envoy:
    """The other end of the call; it listens."""

    traceparent = ""
    fingerprint = b""

    def send(self, message: bytes) -> None:
        """As `Call`."""

    def finish(self, status: int = 0, text: str = "") -> None:
        """As `Call`."""


async def _walk() -> Way:
    settings = {"routing": {"default_strategy": "prefix-cache-and-load"}, "pods": {"endpoints_file": "none"}}
    app = Assembly(Settings.model_validate(settings))
    pods = tuple(PodSpec(f"pod-{number}", f"10.0.0.{number}:8000", ("m",)) for number in range(4))
    app.models.known.discovered(ClusterState(pods, frozenset()))
    await app.limiter.store.create(UserRecord("user-0", rpm=10**6, tpm=10**9))
    begin = next(iter(app.processor.methods().values()))
    headers, body = messages_of(0, with_user=True, stream=False)
    way = Way()
    for walked in (Way(), way):  # the first one fills what is remembered
        sys.setprofile(walked.follow)
        try:
            call = begin(_Envoy())
            call.received(headers)
            call.received(body)
            call.ended()
        finally:
            sys.setprofile(None)
        await asyncio.sleep(0)
    await app.limiter.close()
    return way


def way_of_a_request() -> Way:
    """Of a chat request of a user with limits, kept in memory, routed by prefix and load over four pods."""
    return asyncio.run(_walk())
