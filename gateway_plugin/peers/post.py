"""Outcomes on their way to the replica that booked the request.

A charge id begins with the id of the replica that made it, so whoever gets its log entry knows whom to tell. Bounded:
what is not fetched in time is dropped, and the booking ends as one whose log entry was lost.
"""

from __future__ import annotations

import secrets
from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING

from gateway_plugin.peers.wire import MalformedNewsError, read_settled, settled_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from routing.router import Router, Settled

MAX_QUEUED = 10_000
"""Outcomes for other replicas; more are dropped and counted."""
_ID_BYTES = 8
"""64 bits of chance for each replica."""
_IDS_AT_ONCE = 256
"""One call to the system for so many."""
_ID_CHARACTERS = 2 * _ID_BYTES
"""In hexadecimal."""


def new_replica_id() -> str:
    """Identifies one process for as long as it runs."""
    return secrets.token_hex(_ID_BYTES)


def charge_ids(replica: str) -> Callable[[], str]:
    """Makes ids of 32 hexadecimal characters, which begin with the replica's."""
    return chain.from_iterable(_batches(replica)).__next__


def _batches(replica: str) -> Iterator[list[str]]:
    # The kernel is asked for many at once: a system call costs more than all else about an id.
    while True:
        drawn = secrets.token_hex(_ID_BYTES * _IDS_AT_ONCE)
        yield [replica + drawn[start : start + 2 * _ID_BYTES] for start in range(0, len(drawn), 2 * _ID_BYTES)]


class Post:
    """Takes the router's strangers, and brings it those that others have met."""

    def __init__(self, replica: str, router: Router) -> None:
        self.on_received: Callable[[str], None] = lambda charge_id: None
        """Called with the charge id of every outcome that another replica passes on."""
        self.counts: Counter[str] = Counter({"forwarded": 0, "received": 0, "dropped": 0, "malformed": 0})
        self._replica = replica
        self._router = router
        self._queued: dict[str, list[bytes]] = {}
        self._room = MAX_QUEUED
        router.on_stranger = self._send

    def outgoing(self) -> dict[str, list[bytes]]:
        """What waits, by replica; `sent` must follow when it has left."""
        return {replica: list(values) for replica, values in self._queued.items()}

    def sent(self, outgoing: Mapping[str, list[bytes]]) -> None:
        """It has left; what has come meanwhile stays."""
        for replica, values in outgoing.items():
            del self._queued[replica][: len(values)]
            if not self._queued[replica]:
                del self._queued[replica]
            self._room += len(values)
            self.counts["forwarded"] += len(values)

    def receive(self, values: Iterable[bytes]) -> None:
        """What others have met of this replica's requests."""
        for value in values:
            try:
                settled = read_settled(value)
            except MalformedNewsError:
                self.counts["malformed"] += 1
                continue
            self.counts["received"] += 1
            self._router.settle(
                settled.charge_id,
                settled.address,
                succeeded=settled.succeeded,
                prompt=settled.prompt_tokens,
                cached=settled.cached_tokens,
                output=settled.output_tokens,
                model=settled.model,
                ttft_seconds=settled.ttft_seconds,
            )
            self.on_received(settled.charge_id)

    def _send(self, settled: Settled) -> None:
        replica = settled.charge_id[:_ID_CHARACTERS]
        if replica == self._replica or len(replica) < _ID_CHARACTERS:
            return  # booked without a policy, or settled before
        if not self._room:
            self.counts["dropped"] += 1
            return
        self._room -= 1
        self._queued.setdefault(replica, []).append(settled_bytes(settled))
