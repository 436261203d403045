"""The prefix index against a naive model: lists in order of use, and every booking looked at every time."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from routing.prefix.prefix_blocks import PrefixKeys
from routing.prefix.prefix_index import PrefixBooking, PrefixIndex

TTL_SECONDS = 100.0
CAPACITY_TOKENS = 640.0
ROWS = np.array([0, 1, 2, 70], dtype=np.int64)
rows = st.sampled_from(ROWS.tolist())
paths = st.lists(st.integers(0, 2), max_size=7).map(tuple)
Path = tuple[int, ...]


def chain(path: Path) -> list[Path]:
    return [path[: i + 1] for i in range(len(path))]


def size_tokens(block: Path) -> float:
    return 64.0 if len(block) <= 4 else 128.0


def keys_of(path: Path) -> PrefixKeys:
    hashes = tuple(int("1" + "".join(map(str, block)), base=3) for block in chain(path))
    tokens = tuple(sum(map(size_tokens, chain(path)[: i + 1])) for i in range(len(path)))
    return PrefixKeys(hashes, tokens)


@dataclass
class Pod:
    capacity_tokens: float = CAPACITY_TOKENS
    order: list[Path] = field(default_factory=list)
    confirmed: set[Path] = field(default_factory=set)
    ever_given: set[Path] = field(default_factory=set)

    def tokens(self) -> float:
        return sum(map(size_tokens, self.order))

    def forget(self, block: Path) -> None:
        self.order.remove(block)
        self.confirmed.discard(block)

    def touch(self, path: Path) -> None:
        blocks = chain(path)[::-1]
        self.order = [block for block in self.order if block not in blocks] + blocks
        self.ever_given.update(blocks)

    def make_room(self, path: Path) -> None:
        if self.tokens() > self.capacity_tokens:
            own = min(sum(map(size_tokens, chain(path))), self.capacity_tokens)
            self.shrink(max(self.capacity_tokens * 15 / 16, own))

    def shrink(self, tokens: float) -> None:
        while self.tokens() > tokens:
            self.forget(self.order[0])


@dataclass(eq=False)
class Booked:
    real: PrefixBooking
    row: int
    pod: Pod
    path: Path
    expires_at_seconds: float


class IndexMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now_seconds = 0.0
        self.index = PrefixIndex(lambda: self.now_seconds, capacity_tokens=CAPACITY_TOKENS, ttl_seconds=TTL_SECONDS)
        self.pods: dict[int, Pod] = {}
        self.pending: list[Booked] = []
        self.ended: list[Booked] = []

    def pod(self, row: int) -> Pod:
        return self.pods.setdefault(row, Pod())

    @rule(row=rows, path=paths)
    def insert(self, row: int, path: Path) -> None:
        self.index.insert(row, keys_of(path))
        self.add_confirmed(row, path)

    @precondition(lambda self: len(self.pending) < 10)
    @rule(row=rows, path=paths)
    def book(self, row: int, path: Path) -> None:
        real = self.index.book(row, keys_of(path))
        pod = self.pod(row)
        pod.touch(path)
        self.pending.append(Booked(real, row, pod, path, self.now_seconds + TTL_SECONDS))
        pod.make_room(path)
        self.expire()
        assert self.matched(path)[row] == len([block for block in chain(path) if block in pod.order])

    @precondition(lambda self: self.pending)
    @rule(data=st.data())
    def take_back(self, data: st.DataObject) -> None:
        booked = data.draw(st.sampled_from(self.pending))
        self.index.take_back(booked.real)
        self.end(booked)

    @precondition(lambda self: self.pending or self.ended)
    @rule(data=st.data())
    def confirm(self, data: st.DataObject) -> None:
        booked = data.draw(st.sampled_from(self.pending + self.ended))
        self.index.confirm(booked.real)
        if self.pods.get(booked.row) is booked.pod:
            self.add_confirmed(booked.row, booked.path)
        if booked in self.pending:
            self.end(booked)

    @rule(seconds=st.sampled_from([1.0, 30.0, 99.0, 100.0]))
    def wait(self, seconds: float) -> None:
        self.now_seconds += seconds

    @rule(row=rows, tokens=st.sampled_from([0.0, 64.0, 300.0, CAPACITY_TOKENS, 2 * CAPACITY_TOKENS]))
    def set_capacity(self, row: int, tokens: float) -> None:
        self.index.set_capacity(row, tokens)
        self.pod(row).capacity_tokens = tokens
        self.pod(row).shrink(tokens)

    @rule(row=rows)
    def drop_row(self, row: int) -> None:
        self.index.drop_row(row)
        self.pods.pop(row, None)
        assert self.index.matched_blocks(keys_of((0,)).hashes, np.array([row])).tolist() == [0]
        self.expire()

    @rule(path=paths)
    def match(self, path: Path) -> None:
        found = self.matched(path)
        self.expire()
        for row in ROWS.tolist():
            pod = self.pods.get(row, Pod())
            flags = [block in pod.order for block in chain(path)]
            assert found[row] == [*flags, False].index(False)
            assert pod.ever_given.issuperset(chain(path)[: found[row]])

    @invariant()
    def books_agree(self) -> None:
        held = {block for pod in self.pods.values() for block in pod.order}
        assert self.index.blocks == sum(len(pod.order) for pod in self.pods.values())
        assert len(self.index._holders) == len(held)
        assert len(self.index._pending) == len([booked for booked in self.pending if booked.path])
        for row, pod in self.pods.items():
            assert self.index._rows[row].tokens == pod.tokens() <= pod.capacity_tokens
            claims = sum(len(booked.path) for booked in self.pending if booked.pod is pod)
            assert self.index._rows[row].claims() == claims
            assert list(self.index._rows[row].blocks) == [keys_of(block).hashes[-1] for block in pod.order]

    @invariant()
    def no_block_without_its_parent(self) -> None:
        for pod in self.pods.values():
            assert all(len(block) == 1 or block[:-1] in pod.order for block in pod.order)

    def matched(self, path: Path) -> dict[int, int]:
        keys = keys_of(path)
        found = self.index.matched_blocks(keys.hashes, ROWS).tolist()
        few = self.index.matched_tokens(keys.hashes, keys.tokens, ROWS)
        assert few.tokens == [(0.0, *keys.tokens)[count] for count in found]
        assert (few.best_tokens, few.holders) == (max(few.tokens), found.count(max(found)) if any(found) else 1)
        return dict(zip(ROWS.tolist(), found, strict=True))

    def add_confirmed(self, row: int, path: Path) -> None:
        pod = self.pod(row)
        pod.touch(path)
        pod.confirmed.update(chain(path))
        pod.make_room(path)

    def expire(self) -> None:
        for booked in [booked for booked in self.pending if booked.expires_at_seconds <= self.now_seconds]:
            self.end(booked)

    def end(self, booked: Booked) -> None:
        self.pending.remove(booked)
        self.ended.append(booked)
        spoken_for = {block for other in self.pending if other.pod is booked.pod for block in chain(other.path)}
        for block in chain(booked.path):
            if block in booked.pod.order and block not in booked.pod.confirmed | spoken_for:
                booked.pod.forget(block)


TestIndexModel = IndexMachine.TestCase
