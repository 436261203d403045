"""ext_proc as a gRPC method: one call per HTTP request, and what all of them share."""

from __future__ import annotations

import asyncio
import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway_plugin.exchange.call import ProcessCall
from gateway_plugin.exchange.parking import Parking
from gateway_plugin.exchange.steps import NOTHING_LEFT
from gateway_plugin.exchange.unpacked import UnpackedBodies
from gateway_plugin.exchange.uploads import UploadBounds, Uploads
from gateway_plugin.exchange.waiting import WaitingRoom
from gateway_plugin.settings.pacing import next_moment
from protos import ext_proc

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway_plugin.accounting.limiting import Limiting
    from gateway_plugin.exchange.collaborators import Services
    from gateway_plugin.exchange.steps import Ending
    from gateway_plugin.grpc.calls import Call, Methods
    from protos.access_log import FinishedExchange

_EXPIRY_SECONDS = 1.0
_COMPLAINT_SECONDS = 60.0

logger = logging.getLogger(__name__)


_NO_UPLOAD_BOUNDS = UploadBounds()


@dataclass(frozen=True, slots=True)
class ProcessorBounds:
    """How much one process takes on; 0 is no bound."""

    max_exchanges: int = 0
    uploads: UploadBounds = _NO_UPLOAD_BOUNDS
    """Of exchanges whose bodies are still on their way; these are not counted above."""
    unpacked_bytes: int = 0
    """Of bodies that came compressed, until it is decided where they go."""
    max_queue_length: int = 0
    """Requests of one model that wait for a pod with room; 0: none may wait."""
    max_wait_seconds: float = 2.0
    ends_calls: bool = False
    """End the gRPC stream with the reply and let the access log release the pod, instead of holding the stream."""


_UNBOUNDED = ProcessorBounds()


class ExternalProcessor:
    """`envoy.service.ext_proc.v3.ExternalProcessor`: one call per HTTP request."""

    def __init__(
        self,
        services: Services,
        limiter: Limiting,
        on_finished: Callable[[FinishedExchange], None],
        bounds: ProcessorBounds = _UNBOUNDED,
    ) -> None:
        self.services = services
        self.limiter = limiter
        self.ends_calls = bounds.ends_calls
        self.parked = Parking(services.clock, self.exchange_ended)
        self.unpacked = UnpackedBodies(bounds.unpacked_bytes)
        self.uploads = Uploads(bounds.uploads, services.clock)
        self.waiting = WaitingRoom(
            services.router.has_room,
            lambda seconds, call: asyncio.get_running_loop().call_later(seconds, call),
            max_length=bounds.max_queue_length,
            max_wait_seconds=bounds.max_wait_seconds,
        )
        self._on_finished = on_finished
        self._giving_back: set[asyncio.Task[None]] = set()
        self._open_calls = 0
        self._unheard_calls = 0
        """Opened, and nothing said yet: Envoy opens many at once, and speaks then."""
        self._max_exchanges = bounds.max_exchanges or math.inf
        self.refuses_calls = False
        """True when the process is about to stop: new calls end at once, and Envoy asks another replica."""
        self.last_end_seconds = -math.inf
        self._complained_seconds = -math.inf
        self.idle = asyncio.Event()
        self.idle.set()

    @property
    def open_exchanges(self) -> int:
        """Exchanges that hold a call or wait for the access log."""
        return self._open_calls + len(self.parked.exchanges)

    @property
    def working(self) -> int:
        """Open exchanges that neither wait for their clients to send a body nor for Envoy's first word."""
        return self._open_calls - self._unheard_calls + len(self.parked.exchanges) - len(self.uploads.waiting)

    @property
    def is_full(self) -> bool:
        """Whether there is too much work; the exchange that asks is counted already."""
        return self.working > self._max_exchanges

    def methods(self) -> Methods:
        """What a transport serves."""
        return {f"/{ext_proc.METHOD_SERVICE}/{ext_proc.METHOD_NAME}": self._begin}

    async def run(self) -> None:
        """Until cancelled: sends those home whose bodies do not come."""
        while True:
            await next_moment(_EXPIRY_SECONDS)
            self.uploads.expire()

    def _begin(self, call: Call) -> ProcessCall:
        if not self._open_calls:
            self.idle.clear()
        self._open_calls += 1
        self._unheard_calls += 1
        return ProcessCall(call, self)

    def complain_of_size(self, text: str) -> None:
        """Once a minute: clients decide how often it happens."""
        now = self.services.clock()
        if now - self._complained_seconds >= _COMPLAINT_SECONDS:
            self._complained_seconds = now
            logger.warning("%s: grpc_max_message_bytes must be above Envoy's limit of a request's body", text)

    def call_heard(self) -> None:
        """The first word of one call, or its end without any."""
        self._unheard_calls -= 1

    def call_ended(self) -> None:
        """One call less."""
        self._open_calls -= 1
        if not self._open_calls:
            self.idle.set()

    def exchange_ended(self, ending: Ending) -> None:
        """What is left to do for an exchange is done by tasks that nobody waits for."""
        self.last_end_seconds = self.services.clock()
        if ending is not NOTHING_LEFT:
            self._finish(ending)
        if self.waiting.queues:
            self.waiting.freed()

    def _finish(self, ending: Ending) -> None:
        if ending.back is not None:
            task = asyncio.get_running_loop().create_task(self.limiter.give_back(ending.back))
            self._giving_back.add(task)
            task.add_done_callback(self._giving_back.discard)
        if ending.finished is not None:
            self._on_finished(ending.finished)
