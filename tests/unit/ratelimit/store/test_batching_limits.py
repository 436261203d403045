"""What goes into one batch, and what each waiter gets out of it."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from ratelimit import (
    Admission,
    CorruptUserRecord,
    Decision,
    InvalidUserName,
    MemoryStore,
    Outcome,
    StoreUnavailable,
    UserRecord,
)
from ratelimit.store.batching import BatchingLimits

pytestmark = pytest.mark.looptime


class Store(MemoryStore):
    """Takes 10 ms for a batch; notes them."""

    def __init__(self) -> None:
        super().__init__(lambda: 1000.0)
        self.batches: list[list[str]] = []
        self.under_way = 0
        self.most_under_way = 0
        self.error: Exception | None = None
        self.seconds = 0.01

    async def admit_many(self, admissions):
        self.batches.append([admission.charge_id for admission in admissions])
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        await asyncio.sleep(self.seconds)
        self.under_way -= 1
        if self.error is not None:
            raise self.error
        return [
            CorruptUserRecord("k") if admission.subject == "corrupt" else self.admit(admission)
            for admission in admissions
        ]


@pytest.fixture
async def store() -> Store:
    store = Store()
    await store.create(UserRecord("lgy", rpm=100))
    return store


def ask(limits: BatchingLimits, count: int) -> list[asyncio.Future[Decision]]:
    return [limits.admit(Admission("lgy", str(n))) for n in range(count)]


async def test_one_turn_is_one_batch_and_each_gets_its_own_answer(store):
    decisions = await asyncio.gather(*ask(BatchingLimits(store), 101))
    assert len(store.batches) == 1
    assert [decision.requests_used for decision in decisions[:100]] == list(range(1, 101))
    assert decisions[100].outcome is Outcome.REQUESTS_EXCEEDED


async def test_nobody_waits_for_an_answer_that_is_missing(store):
    async def forgetful(admissions):
        return [store.admit(admissions[0])]

    store.admit_many = forgetful
    async with asyncio.timeout(1):
        first, second = await asyncio.gather(*ask(BatchingLimits(store), 2), return_exceptions=True)
    assert isinstance(first, Decision)
    assert isinstance(second, ValueError)


async def test_batches_are_bounded_in_size_and_number_and_keep_order(store):
    limits = BatchingLimits(store, max_batch=10, max_in_flight=2)
    await asyncio.gather(*ask(limits, 45))
    assert [len(batch) for batch in store.batches] == [10, 10, 10, 10, 5]
    assert list(itertools.chain(*store.batches)) == [str(n) for n in range(45)]
    assert store.most_under_way == 2
    assert repr(limits).endswith("0 waiting, 0 batches out)")


async def test_what_is_asked_while_all_batches_are_out_makes_one(store):
    limits = BatchingLimits(store, max_in_flight=1)
    first = limits.admit(Admission("lgy", "first"))
    await asyncio.sleep(0.001)
    later = []
    for number in range(5):
        later.append(limits.admit(Admission("lgy", str(number))))
        await asyncio.sleep(0.001)
    await asyncio.gather(first, *later)
    assert store.batches == [["first"], ["0", "1", "2", "3", "4"]]


async def test_who_stopped_waiting_is_left_out(store):
    limits = BatchingLimits(store, max_in_flight=1)
    futures = ask(limits, 1)
    await asyncio.sleep(0.001)
    futures += [limits.admit(Admission("lgy", name)) for name in ("gone", "here")]
    futures[0].cancel()
    futures[1].cancel()
    assert (await futures[2]).outcome is Outcome.ADMITTED
    assert store.batches == [["0"], ["here"]]


async def test_one_corrupt_record_or_bad_name_spoils_no_other(store):
    limits = BatchingLimits(store)
    with pytest.raises(InvalidUserName):
        limits.admit(Admission("", "bad"))
    corrupt = limits.admit(Admission("corrupt", "c"))
    fine = limits.admit(Admission("lgy", "a"))
    with pytest.raises(CorruptUserRecord):
        await corrupt
    assert (await fine).outcome is Outcome.ADMITTED


@pytest.mark.parametrize("error", [StoreUnavailable("s", "away"), ZeroDivisionError("a bug")])
async def test_a_failed_batch_fails_all_who_wait_and_the_next_is_asked(store, error):
    store.error = error
    limits = BatchingLimits(store, max_batch=2, max_in_flight=1)
    results = await asyncio.gather(*ask(limits, 4), return_exceptions=True)
    assert [type(result) for result in results] == [type(error)] * 4
    store.error = None
    assert (await limits.admit(Admission("lgy", "again"))).outcome is Outcome.ADMITTED


async def test_closing_lets_nobody_wait_forever(store):
    limits = BatchingLimits(store, max_in_flight=1)
    futures = ask(limits, 1)
    await asyncio.sleep(0.001)
    futures += ask(limits, 2)
    await limits.close()
    results = await asyncio.gather(*futures, return_exceptions=True)
    assert [str(result) for result in results] == ["limit store: closed"] * 3
    assert store.batches == [["0"]]


async def test_a_batch_that_is_not_answered_does_not_hold_up_the_next_for_long(store, looptime):
    limits = BatchingLimits(store, max_in_flight=1)
    store.seconds = 3600
    lost = limits.admit(Admission("lgy", "lost"))
    await asyncio.sleep(0.01)
    store.seconds = 0.01
    assert (await limits.admit(Admission("lgy", "behind"))).outcome is Outcome.ADMITTED
    assert looptime <= 0.12
    with pytest.raises(StoreUnavailable, match="no answer within"):
        await lost
