"""ext_proc as a gRPC method: one call per HTTP request, and what all of them share.

A call carries messages to its exchange, does what that asks for, and tells it when the call is over. An exchange mostly
answers at once. What must wait, for the limiter or for a pod with room, goes on by callback when the answer is there;
Envoy sends nothing meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import math
from typing import TYPE_CHECKING, TypeVar

from gateway_plugin.exchange.collaborators import ProcessorBounds
from gateway_plugin.exchange.exchange import Exchange
from gateway_plugin.exchange.holding import HoldingRoom
from gateway_plugin.exchange.intent import rejections
from gateway_plugin.exchange.parking import Parking
from gateway_plugin.exchange.phases import BODY, HEADERS, HELD, HOLDING, WAITING
from gateway_plugin.exchange.steps import (
    NOTHING_LEFT,
    Admit,
    FindUser,
    Identify,
    Reply,
    Unpack,
    WaitForPod,
    WaitForRoom,
)
from gateway_plugin.exchange.traced import TracedExchange
from gateway_plugin.exchange.unpacked import UnpackedBodies
from gateway_plugin.exchange.uploads import Uploads, announced_bytes
from gateway_plugin.exchange.waiting import WaitingRoom
from gateway_plugin.grpc.calls import INTERNAL, UNAVAILABLE, TooMuch
from gateway_plugin.openai.errors import ApiError
from gateway_plugin.settings.pacing import next_moment
from protos import ext_proc
from protos.ext_proc import DecodeError
from ratelimit import CorruptUserRecord, Decision
from ratelimit.rare_log import RareLog

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway_plugin.accounting.limiting import Limiting
    from gateway_plugin.exchange.collaborators import Services
    from gateway_plugin.exchange.steps import Ending, Step
    from gateway_plugin.grpc.calls import Call, Methods
    from protos.access_log import FinishedExchange

    # A decision of the limiter, the owner of a key, whether there is a user, or a body.
    Answer = Decision | str | bool | bytes | None

A = TypeVar("A")
_EXPIRY_SECONDS = 1.0
"""Between two looks for uploads and waits that are too long."""
_COMPLAINT_SECONDS = 60.0
"""Between two warnings that bounds are reached."""

_UNBOUNDED = ProcessorBounds()

logger = logging.getLogger(__name__)


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
        self.holding = HoldingRoom(
            lambda model: not services.router.is_cold(model),
            lambda seconds, call: asyncio.get_running_loop().call_later(seconds, call),
            max_requests=bounds.max_held_requests,
            max_bytes=bounds.max_held_bytes,
            max_seconds=bounds.max_held_seconds,
        )
        self._on_finished = on_finished
        self._giving_back: set[asyncio.Task[None]] = set()
        self._open_calls = 0
        self._unheard_calls = 0
        """Opened, and nothing said yet: Envoy opens many at once, and speaks then."""
        self._max_exchanges = bounds.max_exchanges or math.inf
        self.refuses_calls = False
        """True before the models are known, and when the process is about to stop: Envoy asks another replica."""
        self.envoy_fingerprint = b""
        """What the Envoy that called last was configured for, as it says."""
        self.last_end_seconds = -math.inf
        self._complained_seconds = -math.inf
        self._rare = RareLog(logger, services.clock)
        self.idle = asyncio.Event()
        self.idle.set()

    @property
    def open_exchanges(self) -> int:
        """Exchanges that hold a call or wait for the access log."""
        return self._open_calls + len(self.parked.exchanges)

    def waiting_lengths(self) -> dict[str, int]:
        """Requests of each model that wait for a pod, or for room on one."""
        held = self.holding.lengths()
        return {**held, **{model: held.get(model, 0) + length for model, length in self.waiting.lengths().items()}}

    @property
    def working(self) -> int:
        """Open exchanges that wait neither for a body, nor for a first pod, nor for Envoy's first word."""
        waiting = self._unheard_calls + len(self.uploads.waiting) + len(self.holding.held)
        return self._open_calls + len(self.parked.exchanges) - waiting

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
        services = self.services
        self.envoy_fingerprint = call.fingerprint
        if services.tracing is None:
            return ProcessCall(call, self, Exchange(services))
        return ProcessCall(call, self, TracedExchange(services, services.tracing, call.traceparent))

    def complain_of_size(self, text: str) -> None:
        """Once a minute: clients decide how often it happens."""
        now = self.services.clock()
        if now - self._complained_seconds >= _COMPLAINT_SECONDS:
            self._complained_seconds = now
            logger.warning("%s: grpc_max_message_bytes must be above Envoy's limit of a request's body", text)

    def complain_of_uploads(self, source: str) -> None:
        """Once a minute: where all clients have one proxy's address, their bound is one, and somebody should know."""
        waiting = len(self.uploads.waiting)
        self._rare.error(
            "uploads",
            "a body from %s is refused: %d are on their way; if that is a proxy's address, set identity.trusted_hops",
            *(source, waiting),
        )

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


class ProcessCall:
    """One call and its exchange."""

    __slots__ = (
        "_asked",
        "_asked_seconds",
        "_busy",
        "_call",
        "_exchange",
        "_finished",
        "_heard",
        "_processor",
        "_unpacked_bytes",
        "_uploading",
    )

    def __init__(self, call: Call, processor: ExternalProcessor, exchange: Exchange) -> None:
        self._call = call
        self._processor = processor
        self._exchange = exchange
        self._asked: asyncio.Future[Answer] | None = None
        self._busy: asyncio.Future[None] | None = None
        self._finished = False
        self._heard = False
        self._uploading = False
        self._unpacked_bytes = 0
        if processor.refuses_calls:
            call.finish(UNAVAILABLE, "this replica takes no calls now")

    def received(self, message: bytes) -> asyncio.Future[None] | None:
        """Answers now, or when the returned future is done."""
        exchange = self._exchange
        if not self._heard:
            self._heard = True
            self._processor.call_heard()
        if self._uploading:
            self._end_upload(len(message))
        if (exchange.phase is HEADERS or exchange.phase is BODY) and self._processor.is_full:
            return self._run(exchange.refused, rejections.overloaded("the gateway is full"))
        return self._run(exchange.receive, message)

    def message_refused(self, text: str, what: TooMuch) -> None:
        """A request's body that the transport does not take: its client is told so."""
        if self._exchange.phase is not BODY:
            return
        if self._uploading:
            self._end_upload()
        if what is TooMuch.MESSAGE:
            # Envoy should have refused it: its limit and ours do not fit together.
            self._processor.complain_of_size(text)
            self._run(self._exchange.refused, rejections.body_too_large())
        else:
            self._run(self._exchange.refused, rejections.overloaded("too many large requests arrive at once"))

    def half_closed(self) -> None:
        """Envoy has nothing more to say: the HTTP exchange is over."""
        self._call.finish()

    def ended(self) -> None:
        """Releases everything the exchange holds, whatever the cause."""
        asked = self._asked
        if asked is not None and not asked.cancel():
            # Answered in this very turn of the loop: what was admitted must be known to be given back.
            self._answered_too_late(asked)
        if not self._heard:
            self._processor.call_heard()
        if self._uploading:
            self._end_upload()
        if self._unpacked_bytes:
            self._drop_unpacked()
        self._set_idle()
        exchange, processor = self._exchange, self._processor
        if exchange.phase is WAITING:
            processor.waiting.leave(self)
        elif exchange.phase is HOLDING:
            processor.holding.leave(self)
        processor.call_ended()
        if self._finished and exchange.phase is HELD:
            processor.parked.park(exchange)
        else:
            processor.exchange_ended(exchange.end())

    def resume(self) -> None:
        """A pod has room."""
        self._run(Exchange.resumed, self._exchange)

    def give_up(self) -> None:
        """No pod had room in time, or none came."""
        never_came = self._exchange.phase is HOLDING
        words = "no pod of the model came in time" if never_came else "no pod had room in time"
        self._run(self._exchange.refused, rejections.overloaded(words))

    def upload_timed_out(self) -> None:
        """The body did not come in time."""
        self._uploading = False
        self._run(self._exchange.refused, rejections.upload_timed_out())

    def _run(self, first: Callable[[A], Step | None], of: A) -> asyncio.Future[None] | None:
        """Takes steps until one is a reply, or one must wait. Whatever fails is answered."""
        try:
            step = first(of)
            while step is not None and not isinstance(step, Reply):
                step = self._ask(step)
                if step is None:
                    return self._busy_until_answered()
        except Exception as error:  # noqa: BLE001 - every kind is answered
            step = self._failed(error)
        if step is not None:
            self._say(step)
        self._set_idle()
        return None

    def _say(self, reply: Reply) -> None:
        exchange = self._exchange
        if exchange.phase is BODY and not self._begin_upload():
            reply = exchange.refused(rejections.too_many_uploads())
        if self._unpacked_bytes:
            self._drop_unpacked()
        self._call.send(reply.message)
        may_end = self._processor.ends_calls and exchange.phase is HELD and not exchange.follows_response
        if reply.final or may_end:
            self._finished = True
            self._call.finish()

    def _begin_upload(self) -> bool:
        """The body is asked for with this reply; from now on the exchange waits and does not work."""
        exchange = self._exchange
        size = announced_bytes(exchange.content_length)
        self._uploading = self._processor.uploads.enter(exchange.source, self, size)
        if not self._uploading:
            self._processor.complain_of_uploads(exchange.source)
        return self._uploading

    def _end_upload(self, came_bytes: int = 0) -> None:
        self._uploading = False
        self._processor.uploads.leave(self, came_bytes)

    def _ask(self, step: Admit | Identify | FindUser | Unpack | WaitForRoom | WaitForPod) -> Step | None:
        """The next step, or None when the answer comes later."""
        if isinstance(step, Admit):
            decision = self._processor.limiter.admit(step.admission)
            if isinstance(decision, Decision):
                return self._exchange.admitted(decision)
            self._asked_seconds = self._processor.services.clock()
            self._wait_for(decision)
        elif isinstance(step, Identify):
            self._wait_for(self._processor.limiter.owner_of_key(step.key_sha256, step.source))
        elif isinstance(step, FindUser):
            self._wait_for(self._processor.limiter.has_user(step.user))
        elif isinstance(step, Unpack):
            self._wait_for(self._processor.unpacked.unpacked(step.unpack))
        elif isinstance(step, WaitForPod):
            if not self._processor.holding.enter(step, self):
                return self._exchange.refused(rejections.overloaded(f"model {step.asked} is being started"))
            self._call.send(self._processor.holding.more_time)
        elif not self._processor.waiting.enter(step.model, step.turn, self):
            return self._exchange.refused(rejections.overloaded(f"all pods of model {step.asked} are busy"))
        return None

    def _wait_for(self, answer: Awaitable[Answer]) -> None:
        self._asked = asyncio.ensure_future(answer)
        self._asked.add_done_callback(self._answered)

    def _answered(self, answer: asyncio.Future[Answer]) -> None:
        if answer is self._asked:
            self._asked = None
            if not answer.cancelled():
                self._run(self._told, answer)

    def _answered_too_late(self, answer: asyncio.Future[Answer]) -> None:
        self._asked = None
        if not answer.cancelled() and answer.exception() is None:
            decision = answer.result()
            if isinstance(decision, Decision):
                self._exchange.admitted_too_late(decision)

    def _told(self, asked: asyncio.Future[Answer]) -> Step:
        answer = asked.result()
        if isinstance(answer, bytes):
            return self._unpacked(answer)
        if isinstance(answer, bool):
            return self._exchange.user_found(answer)
        if isinstance(answer, Decision):
            services = self._processor.services
            services.metrics.limiter_seconds.observe(services.clock() - self._asked_seconds)
            return self._exchange.admitted(answer)
        return self._exchange.identified(answer)

    def _unpacked(self, body: bytes) -> Step:
        if not self._processor.unpacked.enter(len(body)):
            return self._exchange.refused(rejections.overloaded("too many large requests arrive at once"))
        self._unpacked_bytes = len(body)
        return self._exchange.unpacked(body)

    def _drop_unpacked(self) -> None:
        self._processor.unpacked.leave(self._unpacked_bytes)
        self._unpacked_bytes = 0

    def _failed(self, error: Exception) -> Reply | None:
        """One exchange must never end the process, and its client must get an answer."""
        if isinstance(error, DecodeError):
            self._call.finish(INTERNAL, "not a ProcessingRequest")
            return None
        answer = error if isinstance(error, ApiError) else rejections.answer_to(error)
        if answer is not None:
            if isinstance(error, CorruptUserRecord):
                logger.error("user cannot be admitted: %s", error)
            return self._exchange.refused(answer)
        logger.error("exchange failed: %r", self._exchange, exc_info=error)
        self._processor.waiting.leave(self)  # its phase will not tell that it waits
        self._processor.holding.leave(self)
        return self._exchange.failed()

    def _busy_until_answered(self) -> asyncio.Future[None]:
        if self._busy is None:
            self._busy = asyncio.get_running_loop().create_future()
        return self._busy

    def _set_idle(self) -> None:
        if self._busy is not None and not self._busy.done():
            self._busy.set_result(None)
        self._busy = None
