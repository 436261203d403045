"""Which pod has seen which prompt prefix, as far as this gateway knows from what it sent where.

A booked request's blocks count at once, so that a burst of one prompt finds them, but only speculatively: they go when
every request that speaks for them has failed or stayed silent for `ttl_seconds`, and stay when one is confirmed.
Each row forgets least-recently-used blocks beyond its capacity in tokens, leaves before roots; a little more than
necessary at a time, so that the work is spread evenly. All maps are bounded, by `max_blocks` and `max_pending_blocks`.
Blocks are counted per pod that holds them. A wrong guess costs the pod one prefill, never a wrong answer.

Of each row, `RowBlocks` keeps the blocks in the order in which they would be forgotten. A chain is touched leaf first
and root last, so that a block always stands before its parent: whatever is dropped from the front, parents outlive
their children, as they do in an engine. A block is speculative while only requests still under way speak for it; each
of these has a claim on it. All that is known of a block is one integer, so that to use it, and to claim it or end a
claim meanwhile, is one write:

    claims << 32 | speculative << 31 | tokens

Claims on a block that is forgotten are kept beside, for the case that it comes back before they end.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import OrderedDict
from typing import TYPE_CHECKING

import msgspec

from routing.prefix.prefix_blocks import Holders

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from routing.pods.columns import IntColumn
    from routing.prefix.prefix_blocks import Matched, PrefixKeys

DEFAULT_CAPACITY_TOKENS = 131_072.0
"""Of a pod that does not tell: 16 GiB of KV cache at 128 KiB a token, an 8B model with grouped attention."""
SPECULATIVE_TTL_SECONDS = 600.0
"""Longer than almost any generation; a success that comes later still counts."""
MAX_BLOCKS = 2_000_000
"""Of all pods together; then those used longest ago go."""
MAX_PENDING_BLOCKS = 500_000
"""Of prompts that are on their way."""

_FORGET_SHARE = 1 / 16
# Twice a request: the backlog of bookings that expired in a quiet hour shrinks without one long pause.
_EXPIRIES_PER_CALL = 16
_SPECULATIVE = 1 << 31
_CLAIM = 1 << 32
_TOKENS = _SPECULATIVE - 1
"""The bits of a claim that count."""


class PrefixBooking(msgspec.Struct, eq=False, gc=False):
    """The claim of one request under way on the blocks of its prompt."""

    row: int
    keys: PrefixKeys
    pod: RowBlocks
    expires_at_seconds: float


class PrefixIndex:
    """Rows are small integers that the pod table recycles: call `drop_row` whenever one changes hands."""

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        capacity_tokens: float = DEFAULT_CAPACITY_TOKENS,
        ttl_seconds: float = SPECULATIVE_TTL_SECONDS,
        max_blocks: int = MAX_BLOCKS,
        max_pending_blocks: int = MAX_PENDING_BLOCKS,
    ) -> None:
        self._clock = clock
        self._capacity_tokens = capacity_tokens
        self._ttl_seconds = ttl_seconds
        self._max_blocks = max_blocks
        self._max_pending_blocks = max_pending_blocks
        self._holders = Holders()
        self._rows: dict[int, RowBlocks] = {}
        self._pending: OrderedDict[PrefixBooking, None] = OrderedDict()
        self._pending_blocks = 0
        self._next_expiry_seconds = -math.inf
        self.blocks = 0
        self.evicted = 0
        self.expired = 0
        self.taken_back = 0

    def matched_blocks(self, hashes: Sequence[int], rows: IntColumn) -> IntColumn:
        """For every row, how many leading blocks of the chain its pod should have cached."""
        now_seconds = self._clock()
        if now_seconds >= self._next_expiry_seconds:
            self._expire(now_seconds)
        return self._holders.matched(hashes, rows)

    def matched_tokens(self, hashes: Sequence[int], tokens: Sequence[float], rows: IntColumn) -> Matched:
        """How many tokens each of few rows' pods should have cached; `tokens` as in `PrefixKeys`."""
        now_seconds = self._clock()
        if now_seconds >= self._next_expiry_seconds:
            self._expire(now_seconds)
        return self._holders.matched_tokens(hashes, tokens, rows)

    def insert(self, row: int, keys: PrefixKeys) -> None:
        """The row's pod has computed this prompt."""
        pod = self._pod(row)
        new = pod.confirm(keys)
        if new:
            self._added(pod, keys, new)

    def book(self, row: int, keys: PrefixKeys) -> PrefixBooking:
        """The row's pod is about to compute this prompt; `confirm` or `take_back` later, or let it expire."""
        now_seconds = self._clock()
        pod = self._pod(row)
        booking = PrefixBooking(row, keys, pod, now_seconds + self._ttl_seconds)
        if keys.hashes:
            self._pending[booking] = None
            self._pending_blocks += len(keys.hashes)
            new = pod.claim(keys)
            if new:
                self._added(pod, keys, new)
        if now_seconds >= self._next_expiry_seconds or self._pending_blocks > self._max_pending_blocks:
            self._expire(now_seconds)
        return booking

    def confirm(self, booking: PrefixBooking) -> None:
        """The booked pod has computed the prompt; nothing to learn when its row was dropped since."""
        pod, keys = booking.pod, booking.keys
        if self._rows.get(booking.row) is not pod:
            self._end(booking)
        elif booking not in self._pending:
            self.insert(booking.row, keys)
        elif pod.confirm_claimed(keys.hashes):
            self._no_longer_pending(booking)
        else:
            self.insert(booking.row, keys)
            self._end(booking)

    def take_back(self, booking: PrefixBooking) -> None:
        """The booked pod never computed the prompt; forgets what no other request speaks for."""
        self.taken_back += self._end(booking)

    def set_capacity(self, row: int, tokens: float) -> None:
        """How many tokens the row's pod can cache, until the row is dropped."""
        pod = self._pod(row)
        pod.capacity_tokens = tokens
        self._evict(pod, tokens, math.inf)

    def held(self, row: int) -> tuple[int, int, float]:
        """Blocks, tokens, and the capacity in tokens, of the row's pod."""
        pod = self._rows.get(row)
        return (len(pod.blocks), pod.tokens, pod.capacity_tokens) if pod else (0, 0, self._capacity_tokens)

    def drop_row(self, row: int) -> None:
        """The row's pod has gone or restarted."""
        pod = self._rows.pop(row, None)
        if pod is not None:
            self._holders.remove(pod.bit, pod.blocks)
            self.blocks -= len(pod.blocks)
            pod.clear()

    def __repr__(self) -> str:
        return (
            f"<PrefixIndex {self.blocks} blocks on {len(self._rows)} pods, {len(self._pending)} pending,"
            f" {self.evicted} evicted, {self.expired} expired, {self.taken_back} taken back>"
        )

    def _pod(self, row: int) -> RowBlocks:
        pod = self._rows.get(row)
        if pod is None:
            pod = self._rows[row] = RowBlocks(row, self._capacity_tokens)
        return pod

    def _added(self, pod: RowBlocks, keys: PrefixKeys, new: Sequence[int]) -> None:
        """The pod holds these blocks of the chain, too."""
        self._holders.add(pod.bit, new)
        self.blocks += len(new)
        self._make_room(pod, keys)

    def _make_room(self, pod: RowBlocks, keys: PrefixKeys) -> None:
        if pod.tokens > pod.capacity_tokens:
            # The chain that has just come stays whole if the pod can hold it at all.
            keep = max(pod.capacity_tokens * (1 - _FORGET_SHARE), min(keys.tokens[-1], pod.capacity_tokens))
            self._evict(pod, keep, math.inf)
        while self.blocks > self._max_blocks:
            if len(pod.blocks) * len(self._rows) < self.blocks:
                pod = max(self._rows.values(), key=lambda other: len(other.blocks))
            surplus = max(self.blocks - self._max_blocks, int(len(pod.blocks) * _FORGET_SHARE))
            self._evict(pod, math.inf, len(pod.blocks) - surplus)

    def _evict(self, pod: RowBlocks, keep_tokens: float, keep_blocks: float) -> None:
        self.evicted += self._remove(pod, pod.oldest(keep_tokens, keep_blocks))

    def _expire(self, now_seconds: float) -> None:
        for _ in range(_EXPIRIES_PER_CALL):
            oldest = next(iter(self._pending), None)
            # Who books later expires later: until then, nobody need look.
            self._next_expiry_seconds = oldest.expires_at_seconds if oldest else now_seconds + self._ttl_seconds
            if oldest is None:
                return
            if oldest.expires_at_seconds > now_seconds and self._pending_blocks <= self._max_pending_blocks:
                return
            self.expired += self._end(oldest)
        self._next_expiry_seconds = now_seconds  # there may be more

    def _end(self, booking: PrefixBooking) -> int:
        """Withdraws the booking's claim, once; returns how many blocks are forgotten with it."""
        if booking not in self._pending:
            return 0
        self._no_longer_pending(booking)
        if self._rows.get(booking.row) is not booking.pod:
            return 0
        return self._remove(booking.pod, booking.pod.withdraw(booking.keys.hashes))

    def _no_longer_pending(self, booking: PrefixBooking) -> None:
        del self._pending[booking]
        self._pending_blocks -= len(booking.keys.hashes)

    def _remove(self, pod: RowBlocks, hashes: Sequence[int]) -> int:
        if hashes:
            pod.forget(hashes)
            self._holders.remove(pod.bit, hashes)
            self.blocks -= len(hashes)
        return len(hashes)


class RowBlocks:
    """The blocks of one incarnation of a row."""

    __slots__ = ("_claims_on_forgotten", "bit", "blocks", "capacity_tokens", "tokens")

    def __init__(self, row: int, capacity_tokens: float) -> None:
        self.bit = 1 << row
        self.capacity_tokens = capacity_tokens
        self.blocks: dict[int, int] = {}
        """The state of each block; the next to be forgotten comes first."""
        self.tokens = 0
        self._claims_on_forgotten: dict[int, int] = {}

    def claim(self, keys: PrefixKeys) -> Sequence[int]:
        """Uses the chain for a request under way, which speaks for it; returns those of its blocks that are new."""
        hashes, blocks = keys.hashes, self.blocks
        held = self._held(hashes)
        if held < len(hashes):
            self._append(keys, held, _SPECULATIVE + _CLAIM)
        use = blocks.pop
        for block in reversed(hashes[:held]):
            blocks[block] = use(block) + _CLAIM
        return hashes[held:]

    def confirm(self, keys: PrefixKeys) -> Sequence[int]:
        """Uses the chain, which the pod has computed: it stays until it is forgotten; returns its new blocks."""
        hashes, blocks = keys.hashes, self.blocks
        held = self._held(hashes)
        if held < len(hashes):
            self._append(keys, held, 0)
        for block in reversed(hashes[:held]):
            blocks[block] = blocks.pop(block) & ~_SPECULATIVE
        return hashes[held:]

    def confirm_claimed(self, hashes: Sequence[int]) -> bool:
        """`confirm` and `withdraw` of a chain in one; False, and nothing done, when some of it was forgotten."""
        blocks = self.blocks
        if hashes and hashes[-1] not in blocks:
            return False
        for block in reversed(hashes):
            blocks[block] = (blocks.pop(block) & ~_SPECULATIVE) - _CLAIM
        return True

    def withdraw(self, hashes: Iterable[int]) -> list[int]:
        """Ends a claim; returns the blocks that nobody speaks for any more."""
        blocks, orphans = self.blocks, []
        for block in hashes:
            state = blocks.get(block)
            if state is None:
                self._withdraw_forgotten(block)
                continue
            blocks[block] = state = state - _CLAIM
            if _SPECULATIVE <= state < _CLAIM:
                orphans.append(block)
        return orphans

    def oldest(self, keep_tokens: float, keep_blocks: float) -> list[int]:
        """What must go, in order, so that no more than that stays."""
        doomed = []
        tokens, blocks = self.tokens, len(self.blocks)
        for block, state in self.blocks.items():
            if tokens <= keep_tokens and blocks <= keep_blocks:
                break
            doomed.append(block)
            tokens -= state & _TOKENS
            blocks -= 1
        return doomed

    def forget(self, hashes: Sequence[int]) -> None:
        """Drops blocks that are held."""
        for block in hashes:
            state = self.blocks.pop(block)
            self.tokens -= state & _TOKENS
            if state >= _CLAIM:
                self._claims_on_forgotten[block] = state - state % _CLAIM

    def clear(self) -> None:
        """Forgets everything, with all claims: the pod has gone."""
        self.blocks = {}
        self.tokens = 0
        self._claims_on_forgotten = {}

    def claims(self) -> int:
        """Claims on blocks, held or not: a request has one on each of its own."""
        return sum([state // _CLAIM for each in (self.blocks, self._claims_on_forgotten) for state in each.values()])

    def _held(self, hashes: Sequence[int]) -> int:
        """How many blocks of the chain are held: the first ones, as their parents are held with them."""
        blocks = self.blocks
        if not hashes or hashes[-1] in blocks:
            return len(hashes)
        return len(hashes) - bisect_left(hashes[::-1], True, key=blocks.__contains__)

    def _append(self, keys: PrefixKeys, held: int, state: int) -> None:
        """The blocks behind the first `held` ones, leaf first."""
        blocks, forgotten = self.blocks, self._claims_on_forgotten
        hashes, tokens = keys.hashes, keys.tokens
        for at in range(len(hashes) - 1, held - 1, -1):
            # Small integers are shared objects: a float each would cost 32 bytes a block.
            size = round(tokens[at] - tokens[at - 1] if at else tokens[0])
            self.tokens += size
            blocks[hashes[at]] = state + size + (forgotten.pop(hashes[at], 0) if forgotten else 0)

    def _withdraw_forgotten(self, block: int) -> None:
        claims = self._claims_on_forgotten.pop(block) - _CLAIM
        if claims:
            self._claims_on_forgotten[block] = claims
