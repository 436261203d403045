"""One ext_proc call: carries messages to its exchange, does what that asks for, and tells it when the call is over.

An exchange mostly answers at once. What must wait, for the limiter or for a pod with room, goes on by callback when the
answer is there; Envoy sends nothing meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from inspect import isawaitable
from typing import TYPE_CHECKING, TypeVar

from google.protobuf.message import DecodeError

from gateway_plugin.calls import INTERNAL, UNAVAILABLE
from gateway_plugin.extproc.exchange import Exchange, Phase
from gateway_plugin.extproc.steps import Admit, Identify, WaitForRoom
from gateway_plugin.intent import rejections
from protos.ext_proc import ProcessingRequest
from ratelimit import CorruptUserRecord, Decision, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway_plugin.calls import Call
    from gateway_plugin.extproc.service import ExternalProcessor
    from gateway_plugin.extproc.steps import Reply, Step

    # A decision of the limiter, or the owner of a key.
    Answer = Decision | str | None

T = TypeVar("T")

logger = logging.getLogger(__name__)

_QUESTIONS = (Admit, Identify, WaitForRoom)


class ProcessCall:
    """One call and its exchange."""

    __slots__ = ("_asked", "_busy", "_call", "_exchange", "_finished", "_processor")

    def __init__(self, call: Call, processor: ExternalProcessor) -> None:
        self._call = call
        self._processor = processor
        self._exchange = Exchange(processor.services)
        self._asked: asyncio.Future[Answer] | None = None
        self._busy: asyncio.Future[None] | None = None
        self._finished = False
        if processor.refuses_calls:
            call.finish(UNAVAILABLE, "draining")

    def received(self, message: bytes) -> asyncio.Future[None] | None:
        """Answers now, or when the returned future is done."""
        try:
            request = ProcessingRequest.FromString(message)
        except DecodeError:
            self._call.finish(INTERNAL, "not a ProcessingRequest")
            return None
        if self._exchange.phase is Phase.HEADERS and self._processor.is_full:
            return self._run(lambda: self._exchange.refused(rejections.overloaded("the gateway is full")))
        return self._run(partial(self._exchange.receive, request))

    def half_closed(self) -> None:
        """Envoy has nothing more to say: the HTTP exchange is over."""
        self._call.finish()

    def ended(self) -> None:
        """Releases everything the exchange holds, whatever the cause."""
        asked = self._asked
        if asked is not None and not asked.cancel():
            # Answered in this very turn of the loop: what was admitted must be known to be given back.
            self._answered(asked)
        self._set_idle()
        self._processor.waiting.leave(self)
        self._processor.call_ended()
        if self._finished and self._exchange.phase is Phase.HELD:
            self._processor.parked.park(self._exchange)
        else:
            self._processor.exchange_ended(self._exchange.end())

    def resume(self) -> None:
        """A pod has room."""
        self._run(self._exchange.resumed)

    def give_up(self) -> None:
        """No pod had room in time."""
        self._run(lambda: self._exchange.refused(rejections.overloaded("no pod had room in time")))

    def _run(self, first: Callable[[], Step | None]) -> asyncio.Future[None] | None:
        """Takes steps until one is a reply, or one must wait."""
        step = self._guarded(first)
        while isinstance(step, _QUESTIONS):
            step = self._guarded(partial(self._ask, step))
            if step is None:
                return self._busy_until_answered()
        if step is not None:
            self._say(step)
        self._set_idle()
        return None

    def _say(self, reply: Reply) -> None:
        self._call.send(reply.message)
        exchange = self._exchange
        may_end = self._processor.bounds.ends_calls and exchange.phase is Phase.HELD and not exchange.follows_response
        if reply.final or may_end:
            self._finished = True
            self._call.finish()

    def _ask(self, step: Admit | Identify | WaitForRoom) -> Step | None:
        """The next step, or None when the answer comes later."""
        limiter = self._processor.limiter
        if isinstance(step, WaitForRoom):
            if self._processor.waiting.enter(step.model, step.user, self):
                return None
            return self._exchange.refused(rejections.overloaded(f"all pods of model {step.model} are busy"))
        answer: Answer | Awaitable[Answer]
        answer = limiter.owner_of_key(step.key_sha256) if isinstance(step, Identify) else limiter.admit(step.admission)
        if not isawaitable(answer):
            return self._tell(answer)
        self._asked = asyncio.ensure_future(answer)
        self._asked.add_done_callback(self._answered)
        return None

    def _answered(self, answer: asyncio.Future[Answer]) -> None:
        if answer is self._asked:
            self._asked = None
            if not answer.cancelled():
                self._run(lambda: self._tell(answer.result()))

    def _tell(self, answer: Answer) -> Step:
        return self._exchange.admitted(answer) if isinstance(answer, Decision) else self._exchange.identified(answer)

    def _guarded(self, step: Callable[[], T]) -> T | Step:
        try:
            return step()
        except StoreUnavailable as error:
            logger.debug("limiter unavailable: %s", error)
            return self._exchange.refused(rejections.limiter_unavailable())
        except CorruptUserRecord as error:
            logger.error("user cannot be admitted: %s", error)
            return self._exchange.refused(rejections.corrupt_user())
        except Exception:
            # One exchange must never end the process, and its client must get an answer.
            logger.exception("exchange failed: %r", self._exchange)
            return self._exchange.failed()

    def _busy_until_answered(self) -> asyncio.Future[None]:
        if self._busy is None:
            self._busy = asyncio.get_running_loop().create_future()
        return self._busy

    def _set_idle(self) -> None:
        if self._busy is not None and not self._busy.done():
            self._busy.set_result(None)
        self._busy = None
