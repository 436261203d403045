"""The loop that shares in-flight work and prompts: ten turns a second, each a round trip that tells and reads.

A replica that is alone takes one turn a second, until it finds that it is not: replicas are counted every five seconds,
and the work of another is read within one.

    a booking is told within 0.2 s, and read within 0.1 s of that; a killed replica's share goes after 0.8 to 1.5 s

A store that is away is tried again after 0.1 to 2 s; what was read of others ages out meanwhile, and what must be
forwarded waits. Nothing here can end the process, nor hold up a request.
"""

from __future__ import annotations

import asyncio
import logging
from itertools import cycle, islice
from typing import TYPE_CHECKING

from gateway_plugin.peers.announcer import Announcer
from gateway_plugin.peers.inbox import Inbox
from gateway_plugin.peers.peer_store import OLDEST_NEWS, Turn
from gateway_plugin.settings.pacing import next_moment
from ratelimit import StoreUnavailable
from routing.pods.elsewhere import Elsewhere
from routing.pods.pod_work import own_work

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence
    from typing import Protocol

    from gateway_plugin.peers.news import News
    from gateway_plugin.peers.peer_store import Answers
    from gateway_plugin.peers.post import Post
    from routing.pods.pod_table import PodTable

    class Store(Protocol):
        """What of `PeerStore` is needed."""

        async def exchange(self, turn: Turn) -> Answers: ...

        async def withdraw(self, replica: str, models: list[str]) -> None: ...

        async def close(self) -> None: ...


logger = logging.getLogger(__name__)

TURN_SECONDS = 0.1
"""Between two looks at what others say."""
ALONE_TURN_SECONDS = 1.0
"""While there are no others."""
LONGEST_DELAY_SECONDS = 2.0
"""Between two tries while Redis is away."""
_MAX_DOUBLINGS = 10
"""So that the exponent stays small."""
MAX_READS = 256
"""Models per turn; with more, each is read in every second turn, or third: up to 3,000 are before they age."""


class Sharing:
    """This replica among the others that use the same store."""

    def __init__(
        self,
        replica: str,
        store: Store,
        pods: PodTable,
        post: Post,
        news: News,
        rng: random.Random,
        is_alone: Callable[[], bool] = lambda: False,
    ) -> None:
        clock = pods.books.clock
        self.elsewhere = Elsewhere(pods)
        self.inbox = Inbox(replica, self.elsewhere, clock)
        self.post = post
        self.news = news
        self.failures = 0
        self.unreadable = 0
        self.turns = 0
        self._replica = replica
        self._store = store
        self._pods = pods
        self._rng = rng
        self._clock = clock
        self._announcer = Announcer(clock)
        self._is_alone = is_alone
        self._in_a_row = 0
        self._not_before = self._away_since = clock()
        self._next_model = 0
        self._news_after = OLDEST_NEWS
        self._arrived: Sequence[bytes] = ()
        """Outcomes of the last turn, which the store may forget now."""

    async def run(self) -> None:
        """Until it is cancelled; then takes back what others could read."""
        try:
            while True:
                if self._clock() >= self._not_before:
                    await self._turn()
                self.elsewhere.update()
                if self._is_alone() and not self.inbox.hears and not self._in_a_row:
                    await next_moment(ALONE_TURN_SECONDS)
                else:
                    await asyncio.sleep(TURN_SECONDS)
        finally:
            await self._withdraw()

    async def _turn(self) -> None:
        writes = self._announcer.writes(own_work(self._pods)) if self._announcer.ready() else {}
        outgoing = self.post.outgoing()
        turn = Turn(
            replica=self._replica,
            writes=writes,
            outgoing=outgoing,
            arrived=self._arrived,
            news=self.news.outgoing(),
            news_after=self._news_after,
            abandoned=self.inbox.abandoned(),
            reads=self._models_to_read(),
        )
        try:
            answers = await self._store.exchange(turn)
        except StoreUnavailable as error:
            self._announcer.failed(writes)
            self._failed(error)
            return
        self._announcer.wrote(writes)
        self.post.sent(outgoing)
        self._take(answers)
        self._succeeded()
        self._news_after = answers.news_after
        for value in answers.news:
            self.news.take(value)
            # Requests come first.
            await asyncio.sleep(0)

    def _take(self, answers: Answers) -> None:
        self.inbox.drop_others(self._pods.first_models())
        for model, values in answers.values.items():
            self.inbox.take(model, values)
        self._arrived = answers.outcomes
        self.post.receive(answers.outcomes)
        self.unreadable += answers.unreadable

    def _models_to_read(self) -> list[str]:
        models = sorted(self._pods.first_models())
        if len(models) <= MAX_READS:
            return models
        start = self._next_model % len(models)
        self._next_model = start + MAX_READS
        return list(islice(cycle(models), start, start + MAX_READS))

    def _succeeded(self) -> None:
        self.turns += 1
        if self._in_a_row:
            logger.warning("other replicas are heard again after %.1f s", self._clock() - self._away_since)
            self._in_a_row = 0

    def _failed(self, error: StoreUnavailable) -> None:
        if not self._in_a_row:
            self._away_since = self._clock()
            logger.warning("other replicas are not heard, each counts its own requests until they are: %s", error)
        self.failures += 1
        # A server that takes over may count anew.
        self._news_after = OLDEST_NEWS
        self._in_a_row += 1
        longest = min(TURN_SECONDS * 2.0 ** min(self._in_a_row, _MAX_DOUBLINGS), LONGEST_DELAY_SECONDS)
        self._not_before = self._clock() + longest * (1 - self._rng.random() / 2)

    async def _withdraw(self) -> None:
        try:
            await self._store.withdraw(self._replica, self._announcer.told())
            await self._store.close()
        except StoreUnavailable as error:
            logger.debug("not taken back, others forget it by themselves: %s", error)
