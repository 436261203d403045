"""Which store decides, what happens meanwhile, and what is told to the store afterwards, in virtual time."""

from __future__ import annotations

import asyncio

import looptime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratelimit import Admission, InvalidUserName, Outcome, Settlement, StoreUnavailable, UserRecord
from ratelimit.outage.breaker import BreakerState
from ratelimit.outage.resilience import StoreDown
from tests.unit.ratelimit.conftest import World

pytestmark = pytest.mark.looptime


async def used(world, user: str = "lgy"):
    return await world.remote.store.usage(user)


async def test_the_remote_store_decides_while_it_answers(world):
    await world.remote.create(UserRecord("lgy", rpm=2))
    outcomes = [(await world.admit()).outcome for _ in range(3)]
    assert outcomes == [Outcome.ADMITTED, Outcome.ADMITTED, Outcome.REQUESTS_EXCEEDED]
    assert (await world.admit("ann")).outcome is Outcome.UNKNOWN_USER
    assert world.limits.counts.admitted_locally == 0
    assert repr(world.limits).endswith("closed, 0 queued)")


@pytest.mark.parametrize("mode", ["refusing", "silent"])
async def test_the_last_known_limits_hold_while_it_is_away(world, mode):
    await world.remote.create(UserRecord("lgy", rpm=6))
    await world.admit()
    world.remote.mode = mode
    world.replicas = 2
    outcomes = []
    for _ in range(8):
        began = asyncio.get_running_loop().time()
        outcomes.append((await world.admit()).outcome)
        assert asyncio.get_running_loop().time() - began <= 0.06
    assert outcomes == [Outcome.ADMITTED] * 3 + [Outcome.REQUESTS_EXCEEDED] * 5
    counts = world.limits.counts
    assert (counts.admitted_locally, counts.refused_locally, counts.unseen_user_admissions) == (3, 5, 0)
    assert counts.times_opened == 1
    assert counts.timeouts >= 5 * (mode == "silent")


async def test_unknown_users_stay_unknown_and_unseen_ones_are_let_in(world):
    await world.admit("nobody")
    await world.break_store()
    assert (await world.admit("nobody")).outcome is Outcome.UNKNOWN_USER
    decision = await world.admit("ann")
    assert decision.outcome is Outcome.ADMITTED
    assert decision.limits is not None
    assert decision.limits.requests_per_minute == 100
    assert world.limits.counts.unseen_user_admissions == 1


async def test_policy_open_lets_everyone_in(new_world):
    world = new_world(StoreDown.OPEN)
    await world.remote.create(UserRecord("lgy", rpm=1))
    await world.admit()
    await world.break_store()
    for _ in range(10):
        decision = await world.admit()
        assert (decision.outcome, decision.limits) == (Outcome.ADMITTED, None)
    assert world.limits.counts.admitted_unlimited == 10


async def test_policy_closed_raises(new_world):
    world = new_world(StoreDown.CLOSED)
    world.remote.mode = "refusing"
    for _ in range(7):
        with pytest.raises(StoreUnavailable):
            await world.admit()
    assert world.limits.state is BreakerState.OPEN


async def test_it_is_back_within_two_seconds_and_gets_what_it_missed(world):
    await world.remote.create(UserRecord("lgy", rpm=10, tpm=1000))
    await world.limits.admit(Admission("lgy", "before", tokens=100))
    await world.break_store()
    decision = await world.limits.admit(Admission("lgy", "during", tokens=200))
    assert (decision.outcome, decision.reserved_tokens) == (Outcome.ADMITTED, 200)
    settlements = [Settlement("lgy", "before", 30, reserved=100), Settlement("lgy", "during", 150, reserved=200)]
    assert await world.limits.settle_many(settlements) == 2
    assert await world.limits.settle(settlements[0]) is False
    assert world.limits.counts.queued == 4
    assert (await used(world)).tokens_used == 100
    await asyncio.sleep(20)
    world.remote.mode = "up"
    await asyncio.sleep(2)
    assert world.limits.state is BreakerState.CLOSED
    assert world.limits.counts.queued == 0
    usage = await used(world)
    assert (usage.requests_used, usage.tokens_used) == (2, 30 + 150)
    assert await world.limits.settle(settlements[1]) is False


async def test_local_settlements_count_against_the_local_limit(world):
    world.known.put("lgy", UserRecord("lgy", tpm=1000))
    await world.break_store()
    assert (await world.admit(tokens=600)).outcome is Outcome.ADMITTED
    assert (await world.admit(tokens=600)).outcome is Outcome.TOKENS_EXCEEDED
    await world.limits.settle(Settlement("lgy", "c1", 100))
    assert (await world.admit(tokens=600)).outcome is Outcome.ADMITTED


async def test_charges_that_no_longer_count_are_not_told(world):
    await world.remote.create(UserRecord("lgy", tpm=1000))
    await world.break_store()
    await world.limits.settle(Settlement("lgy", "old", 900, reserved=900))
    await asyncio.sleep(60)
    await world.limits.settle(Settlement("lgy", "new", 50))
    await asyncio.sleep(5)
    world.remote.mode = "up"
    await asyncio.sleep(2)
    assert (await used(world)).tokens_used == 50
    assert (world.limits.counts.expired, world.limits.counts.queued) == (1, 0)


@pytest.mark.parametrize("began", ["before", "during"])
async def test_what_cost_more_than_was_reserved_is_owed_after_an_outage_of_minutes(world, began):
    await world.remote.create(UserRecord("lgy", tpm=1000))
    if began == "before":
        await world.admit(tokens=100)
    await world.break_store()
    if began == "during":
        world.known.put("lgy", UserRecord("lgy", tpm=1000))
        await world.admit(tokens=100)
    await world.limits.settle(Settlement("lgy", "c1", 5100, reserved=100))
    await asyncio.sleep(400)
    world.remote.mode = "up"
    await asyncio.sleep(2)
    assert (await used(world)).tokens_used == 5000
    assert (await world.admit(tokens=1)).outcome is Outcome.TOKENS_EXCEEDED


async def test_the_backlog_is_bounded(world):
    await world.break_store()
    await world.limits.settle_many([Settlement("lgy", f"c{n}", 1) for n in range(10_500)])
    assert (world.limits.counts.queued, world.limits.counts.dropped) == (10_000, 500)
    world.remote.mode = "up"
    await asyncio.sleep(2)
    assert (await world.remote.store.usage("lgy")) is None
    await world.remote.create(UserRecord("lgy"))
    assert (await used(world)).tokens_used == 10_000


async def test_slots_are_given_back_on_both_sides(world):
    await world.remote.create(UserRecord("lgy", max_parallel=1))
    await world.admit()
    assert (await world.admit()).outcome is Outcome.PARALLEL_EXCEEDED
    await world.break_store()
    assert (await world.admit()).outcome is Outcome.PARALLEL_EXCEEDED
    await world.limits.release("lgy", "c1")
    assert (await world.admit()).outcome is Outcome.ADMITTED
    assert (await world.admit()).outcome is Outcome.PARALLEL_EXCEEDED
    await world.limits.release("lgy", "c4")
    assert (await world.admit()).outcome is Outcome.ADMITTED
    world.remote.mode = "up"
    await asyncio.sleep(2)
    assert (await used(world)).parallel == 1, "c6 runs on: the store was told"
    await world.limits.release("lgy", "c6")
    assert (await used(world)).parallel == 0


async def test_slots_that_are_held_when_the_store_goes_count_on(world):
    await world.remote.create(UserRecord("lgy", max_parallel=3))
    outcomes = [(await world.admit()).outcome for _ in range(2)]
    await world.break_store()
    outcomes += [(await world.admit()).outcome for _ in range(3)]
    assert outcomes == [Outcome.ADMITTED] * 3 + [Outcome.PARALLEL_EXCEEDED] * 2
    await world.limits.release("lgy", "c1")
    assert (await world.admit()).outcome is Outcome.ADMITTED
    world.remote.mode = "up"
    await asyncio.sleep(5)
    assert (await used(world)).parallel == 3
    # What was let in meanwhile is held in the next outage, too.
    await world.break_store()
    assert (await world.admit()).outcome is Outcome.PARALLEL_EXCEEDED


async def test_whom_the_share_let_in_and_the_store_did_not_holds_no_slot(world):
    await world.remote.create(UserRecord("lgy", rpm=4, max_parallel=3))
    assert (await world.admit()).outcome is Outcome.ADMITTED
    await world.break_store()
    assert (await world.admit()).outcome is Outcome.ADMITTED
    await world.remote.update(UserRecord("lgy", rpm=2, max_parallel=3))
    world.remote.mode = "up"
    while world.limits.state is not BreakerState.CLOSED or world.limits.counts.queued:  # noqa: ASYNC110 - virtual time
        await asyncio.sleep(0.01)
    assert [(await world.admit()).outcome for _ in range(3)] == [Outcome.REQUESTS_EXCEEDED] * 3
    assert world.local._slots.taken("lgy", asyncio.get_running_loop().time()) == 2


async def test_one_lost_settlement_is_told_again_without_an_outage(world):
    await world.remote.create(UserRecord("lgy"))
    world.remote.mode = "refusing"
    await world.limits.settle(Settlement("lgy", "c1", 7))
    await world.limits.release("lgy", "c1")
    world.remote.mode = "up"
    assert world.limits.state is BreakerState.CLOSED
    await asyncio.sleep(0.5)
    assert (await used(world)).tokens_used == 7
    assert world.limits.counts.queued == 0


async def test_a_bad_settlement_does_not_keep_others_from_being_told(world, caplog):
    await world.remote.create(UserRecord("lgy"))
    await world.break_store()
    world.limits._outbox.settle([Settlement("", "bad", 1)] + [Settlement("lgy", f"c{n}", 1) for n in range(150)])
    world.remote.mode = "up"
    await asyncio.sleep(2)
    assert "were refused by the limit store" in caplog.text
    assert (world.limits.counts.queued, world.limits.counts.dropped) == (0, 100)
    assert (await used(world)).tokens_used == 51


@pytest.mark.parametrize("ending", ["refused", "raised", "cancelled"])
async def test_an_admission_that_happened_unheard_is_undone(new_world, ending):
    """The store heard of it, its answer was lost, and the request is not served."""
    world = new_world(StoreDown.CLOSED if ending == "raised" else StoreDown.LOCAL)
    await world.remote.create(UserRecord("lgy", max_parallel=3, tpm=1000))
    if ending == "refused":
        world.known.put("lgy", None)
    world.remote.mode, world.remote.hears_while_silent = "silent", True
    task = asyncio.ensure_future(world.limits.admit(Admission("lgy", "lost", tokens=400)))
    await asyncio.sleep(0.01)
    assert (await used(world)).tokens_used == 400
    if ending == "cancelled":
        task.cancel()
    await asyncio.wait([task])
    if ending == "refused":
        assert task.result().outcome is Outcome.UNKNOWN_USER
    else:
        assert task.cancelled() or isinstance(task.exception(), StoreUnavailable)
    world.remote.mode = "up"
    await asyncio.sleep(0.5)
    usage = await used(world)
    assert (usage.tokens_used, usage.parallel) == (0, 0)


async def test_an_unheard_admission_that_is_served_is_charged_once(world):
    await world.remote.create(UserRecord("lgy", max_parallel=3, tpm=1000))
    world.remote.mode, world.remote.hears_while_silent = "silent", True
    decision = await world.limits.admit(Admission("lgy", "lost", tokens=400))
    assert decision.outcome is Outcome.ADMITTED
    world.remote.mode = "up"
    await world.limits.settle(Settlement("lgy", "lost", 90, reserved=decision.reserved_tokens))
    await world.limits.release("lgy", "lost")
    usage = await used(world)
    assert (usage.tokens_used, usage.parallel) == (90, 0)


async def test_usage_and_ping_tell_that_it_is_away(world):
    await world.break_store()
    for call in (world.limits.usage("lgy"), world.limits.ping()):
        with pytest.raises(StoreUnavailable):
            await call
    await world.limits.close()
    assert world.remote.closed


async def test_concurrent_requests_all_end_within_one_deadline(world, looptime):
    await world.remote.create(UserRecord("lgy", rpm=50))
    await world.admit()
    world.remote.mode = "silent"
    decisions = await asyncio.gather(*(world.admit() for _ in range(200)))
    assert looptime <= 0.06
    assert sum(decision.outcome is Outcome.ADMITTED for decision in decisions) == 50


@pytest.mark.parametrize(("mode", "told"), [("up", 7), ("silent", 0)])
async def test_closing_tells_what_is_left_if_that_is_quickly_done(new_world, mode, told, looptime, caplog):
    world = new_world()
    await world.remote.create(UserRecord("lgy"))
    world.remote.mode = "refusing"
    await world.limits.settle(Settlement("lgy", "c1", 7))
    world.remote.mode = mode
    await world.limits.close()
    assert looptime <= 0.6
    assert (await used(world)).tokens_used == told
    assert ("1 settlements and releases were never told" in caplog.text) is (mode == "silent")


async def test_an_admission_whose_first_answer_is_lost_is_asked_for_again(world):
    await world.remote.create(UserRecord("lgy", rpm=2))
    asked = asyncio.ensure_future(world.limits.admit(Admission("lgy", "lost")))
    world.remote.mode = "refusing"
    await asyncio.sleep(0.0015)
    world.remote.mode = "up"
    assert (await asked).outcome is Outcome.ADMITTED
    assert world.remote.calls.count("admit") == 2
    assert (world.limits.counts.admitted_locally, (await used(world)).requests_used) == (0, 1)
    assert repr(world.guard).endswith("0 failures in a row, opened 0 times), 0 timeouts)")


async def test_whoever_leaves_between_two_tries_is_undone(world):
    await world.remote.create(UserRecord("lgy", max_parallel=1, tpm=1000))
    asked = asyncio.ensure_future(world.limits.admit(Admission("lgy", "left", tokens=400)))
    await asyncio.sleep(0.0015)
    assert (await asked).outcome is Outcome.ADMITTED, "heard"
    world.remote.mode = "refusing"
    asked = asyncio.ensure_future(world.limits.admit(Admission("lgy", "left", tokens=400)))
    await asyncio.sleep(0.0015)
    asked.cancel()
    world.remote.mode = "up"
    await asyncio.sleep(0.5)
    usage = await used(world)
    assert (usage.tokens_used, usage.parallel) == (0, 0)


async def test_refusals_are_told_whoever_made_them(world):
    heard = []
    world.limits.refused.append(lambda admission, decision: heard.append((admission.subject, decision.outcome)))
    await world.remote.create(UserRecord("lgy", rpm=1))
    await world.admit()
    await world.admit()
    world.remote.mode = "silent"
    await world.admit()
    await world.admit()
    await world.break_store()
    await world.admit()
    assert heard == [("lgy", Outcome.REQUESTS_EXCEEDED)] * 2, "one by the store, one by the share while it is away"


async def test_a_refusal_by_the_share_is_not_told_while_the_store_decides(world):
    """Whoever remembered it would refuse for a minute what the store lets in, because of one late answer."""
    heard = []
    world.limits.refused.append(lambda admission, decision: heard.append(decision.outcome))
    await world.remote.create(UserRecord("lgy", rpm=8))
    world.replicas = 4
    await world.admit()
    world.remote.mode = "silent"
    outcomes = [(await world.admit()).outcome for _ in range(3)]
    world.remote.mode = "up"
    assert outcomes == [Outcome.ADMITTED, Outcome.ADMITTED, Outcome.REQUESTS_EXCEEDED]
    assert (world.limits.state, heard) == (BreakerState.CLOSED, [])
    assert (await world.admit()).outcome is Outcome.ADMITTED


async def test_closing_answers_those_who_wait(world, looptime):
    world.remote.mode = "silent"
    asked = [asyncio.ensure_future(world.limits.admit(Admission("lgy", str(n)))) for n in range(10)]
    await asyncio.sleep(0.01)
    await world.limits.close()
    assert [one.result().outcome for one in asked] == [Outcome.ADMITTED] * 10
    assert looptime <= 0.02
    assert asyncio.all_tasks() == {asyncio.current_task()}, "nobody watches for a store that is closed"


async def test_a_bad_name_is_the_callers_mistake(world):
    with pytest.raises(InvalidUserName):
        await world.admit("")
    assert world.remote.calls == []


@given(steps=st.lists(st.tuples(st.sampled_from(("up", "refusing", "silent")), st.booleans(), st.integers(0, 80))))
@settings(max_examples=40)
def test_nothing_stays_reserved_whatever_happens(steps):
    """Admissions while the store comes and goes, some of them given up by their callers; in the end all are over."""

    async def scenario() -> None:
        world = World()
        world.remote.hears_while_silent = True
        await world.remote.create(UserRecord("lgy", rpm=10**6, tpm=10**6, max_parallel=1000))
        asked = []
        for number, (mode, leaves, wait_ms) in enumerate(steps):
            world.remote.mode = mode
            asked.append(asyncio.ensure_future(world.limits.admit(Admission("lgy", f"c{number}", tokens=10))))
            await asyncio.sleep(wait_ms / 1000)
            if leaves:
                asked[-1].cancel()
        world.remote.mode = "up"
        await asyncio.wait(asked) if asked else None
        await asyncio.sleep(3)
        for number, one in enumerate(asked):
            if not one.cancelled() and one.result().outcome is Outcome.ADMITTED:
                reserved = one.result().reserved_tokens
                await world.limits.settle(Settlement("lgy", f"c{number}", 1, reserved))
                await world.limits.release("lgy", f"c{number}")
        served = sum(not one.cancelled() and one.result().outcome is Outcome.ADMITTED for one in asked)
        usage = await used(world)
        await world.limits.close()
        assert (usage.tokens_used, usage.parallel) == (served, 0)

    with asyncio.Runner(loop_factory=looptime.new_event_loop) as runner:
        runner.run(scenario())
