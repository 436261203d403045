"""Delivery of events: a queue and a worker for each webhook, so that one that fails delays no other.

    delay before attempt n + 1 = max(min(first * 2^(n-1), longest) * (1 - random / 2), what the receiver asked for)

Events of one webhook are sent in order, one at a time. What is not taken after all attempts, what finds its queue full,
and what is still queued when the process stops become dead letters, which are listed and can be sent again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt

from gateway_plugin.models.catalogue.changes import encode_event
from gateway_plugin.models.webhooks.delivery import DeliveryError
from gateway_plugin.models.webhooks.records import DeadLetter, new_id

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from tenacity import RetryCallState

    from gateway_plugin.models.catalogue.changes import Event
    from gateway_plugin.models.webhooks.delivery import Send
    from gateway_plugin.models.webhooks.records import Webhook

logger = logging.getLogger(__name__)

MAX_QUEUED = 1000
"""Events that wait for one webhook; more become dead letters."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How often an event is tried, and how long in between; seven attempts take about two minutes."""

    attempts: int = 8
    first_delay_seconds: float = 1.0
    longest_delay_seconds: float = 60.0


class _Letter(NamedTuple):
    event_id: str
    event_type: str
    body: bytes


class Dispatcher:
    """`bury` stores dead letters; it must not raise."""

    def __init__(
        self,
        send: Send,
        bury: Callable[[list[DeadLetter]], Awaitable[None]],
        rng: random.Random,
        patience: Patience | None = None,
        max_queued: int = MAX_QUEUED,
        *,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._wall_clock = wall_clock
        self.delivered_total = 0
        self.failed_attempts_total = 0
        self.dead_total = 0
        self._send = send
        self._bury = bury
        self._rng = rng
        self._patience = patience or Patience()
        self._max_queued = max_queued
        self._webhooks: Mapping[str, Webhook] = {}
        self._queues: dict[str, asyncio.Queue[_Letter]] = {}
        self._workers: dict[str, asyncio.Task[None]] = {}
        self._burials: set[asyncio.Task[None]] = set()

    def configure(self, webhooks: Mapping[str, Webhook]) -> None:
        """These are the webhooks now. What is queued for one that is gone is dropped with it."""
        self._webhooks = dict(webhooks)
        for webhook_id in self._workers.keys() - webhooks.keys():
            self._workers.pop(webhook_id).cancel()
            del self._queues[webhook_id]
        for webhook_id in webhooks.keys() - self._workers.keys():
            queue = self._queues[webhook_id] = asyncio.Queue(self._max_queued)
            self._workers[webhook_id] = asyncio.get_running_loop().create_task(self._work(webhook_id, queue))

    def publish(self, events: Iterable[Event]) -> None:
        """Queues events for whoever wants them; returns at once."""
        if not self._webhooks:
            return
        overflow: list[DeadLetter] = []
        for event in events:
            letter = _Letter(event.id, event.type, encode_event(event))
            for webhook in self._webhooks.values():
                if webhook.wants(event.type, event.data.model.id):
                    try:
                        self._queues[webhook.id].put_nowait(letter)
                    except asyncio.QueueFull:
                        overflow.append(self._dead(webhook.id, letter, 0, f"{self._max_queued} events wait already"))
        if overflow:
            task = asyncio.get_running_loop().create_task(self._bury_all(overflow))
            self._burials.add(task)
            task.add_done_callback(self._burials.discard)

    async def stop(self) -> None:
        """Ends all workers; what they had not delivered becomes dead letters."""
        workers = list(self._workers.values())
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, *self._burials, return_exceptions=True)
        left = [
            self._dead(webhook_id, queue.get_nowait(), 0, "the gateway stopped before it was sent")
            for webhook_id, queue in self._queues.items()
            for _ in range(queue.qsize())
        ]
        await self._bury_all(left)
        self._workers, self._queues, self._webhooks = {}, {}, {}

    async def _work(self, webhook_id: str, queue: asyncio.Queue[_Letter]) -> None:
        while True:
            letter = await queue.get()
            try:
                await self._deliver(webhook_id, letter)
            except asyncio.CancelledError:
                if webhook_id in self._webhooks:
                    await self._bury_all([self._dead(webhook_id, letter, 1, "the gateway stopped while it was sent")])
                raise

    async def _deliver(self, webhook_id: str, letter: _Letter) -> None:
        retrying = AsyncRetrying(
            stop=stop_after_attempt(self._patience.attempts),
            wait=self._delay_seconds,
            retry=retry_if_exception_type(DeliveryError),
            reraise=True,
        )
        try:
            await retrying(self._attempt, webhook_id, letter)
        except DeliveryError as error:
            logger.warning("webhook %s: event %s is a dead letter: %s", webhook_id, letter.event_id, error)
            await self._bury_all([self._dead(webhook_id, letter, self._patience.attempts, str(error))])
        else:
            self.delivered_total += 1

    async def _attempt(self, webhook_id: str, letter: _Letter) -> None:
        try:
            # As it is configured now: an operator may have corrected it since the last attempt.
            await self._send(self._webhooks[webhook_id], letter.event_id, letter.body)
        except DeliveryError:
            self.failed_attempts_total += 1
            raise

    def _delay_seconds(self, state: RetryCallState) -> float:
        patience = self._patience
        longest = min(
            patience.first_delay_seconds * 2.0 ** min(state.attempt_number - 1, 16), patience.longest_delay_seconds
        )
        error = state.outcome.exception() if state.outcome is not None else None
        asked = error.retry_after_seconds if isinstance(error, DeliveryError) else 0.0
        return max(longest * (1.0 - self._rng.random() / 2.0), asked)

    async def _bury_all(self, letters: list[DeadLetter]) -> None:
        if letters:
            self.dead_total += len(letters)
            await self._bury(letters)

    def _dead(self, webhook_id: str, letter: _Letter, attempts: int, error: str) -> DeadLetter:
        now = self._wall_clock()
        return DeadLetter(
            id=new_id(f"dl_{int(now * 1000):013d}"),
            webhook=webhook_id,
            event_id=letter.event_id,
            event_type=letter.event_type,
            created=int(now),
            attempts=attempts,
            error=error,
            body=letter.body.decode(),
        )
