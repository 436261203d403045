"""What every store does, whatever holds it. Redis counts by the server's clock: nothing here depends on the second."""

from __future__ import annotations

import asyncio
import inspect

import pytest

from ratelimit import Admission, Decision, InvalidUserName, Limits, Outcome, Settlement, Usage, UserRecord

NAMES = ["lgy", "a b:c/d", "{tag}", "a{tag}b", "a}b", "{}", "{}{b}", "a{b", "用户/é🦙", "*", "x" * 256]
FIRST_WAIT_SECONDS = 57.0  # what was just spent keeps others out for 58 to 59 s, and counts for 60 to 61 s


async def admit(store, user: str, charge_id: str, tokens: int = 0, **more) -> Decision:
    decision = store.admit(Admission(user, charge_id, tokens=tokens, **more))
    if inspect.isawaitable(decision):
        decision = await decision
    assert isinstance(decision, Decision)
    return decision


async def outcome(*arguments, **more) -> Outcome:
    return (await admit(*arguments, **more)).outcome


async def release(store, user: str, charge_id: str) -> None:
    released = store.release(user, charge_id)
    if released is not None:
        await released


async def spent(store, user: str = "lgy") -> tuple[float, float, int]:
    usage = await store.usage(user)
    return usage.requests_used, usage.tokens_used, usage.parallel


async def test_the_fourth_of_three_requests_is_refused(store):
    await store.create(UserRecord("lgy", rpm=3, tpm=50))
    for count in (1, 2, 3):
        decision = await admit(store, "lgy", f"{count}", 10)
        assert decision.outcome is Outcome.ADMITTED
        assert decision.limits == Limits(3, 50)
        assert (decision.requests_used, decision.tokens_used) == (count, 10 * count)
        assert (decision.retry_after_seconds, decision.reserved_tokens) == (0, 10)
        assert FIRST_WAIT_SECONDS < decision.requests_reset_seconds <= 61
        assert FIRST_WAIT_SECONDS < decision.tokens_reset_seconds <= 61
    refused = await admit(store, "lgy", "4", 10)
    assert refused.outcome is Outcome.REQUESTS_EXCEEDED
    assert (refused.requests_used, refused.tokens_used, refused.reserved_tokens) == (3, 30, 0)
    assert FIRST_WAIT_SECONDS < refused.retry_after_seconds <= 59
    assert await spent(store) == (3, 30, 0)


async def test_a_reservation_must_fit_and_a_refusal_debits_nothing(store):
    await store.create(UserRecord("lgy", tpm=10))
    assert await outcome(store, "lgy", "1", 8) is Outcome.ADMITTED
    refused = await admit(store, "lgy", "2", 3)
    assert refused.outcome is Outcome.TOKENS_EXCEEDED
    assert refused.tokens_used == 8
    assert FIRST_WAIT_SECONDS < refused.retry_after_seconds <= 59
    assert await spent(store) == (1, 8, 0)
    assert await outcome(store, "lgy", "2", 2) is Outcome.ADMITTED
    # Even of unknown cost.
    assert await outcome(store, "lgy", "3", 0) is Outcome.TOKENS_EXCEEDED


async def test_a_request_larger_than_the_limit_is_admitted_to_an_empty_window(store):
    await store.create(UserRecord("lgy", tpm=10))
    decision = await admit(store, "lgy", "1", 5000)
    assert (decision.outcome, decision.reserved_tokens, decision.tokens_used) == (Outcome.ADMITTED, 10, 10)
    assert FIRST_WAIT_SECONDS < (await admit(store, "lgy", "2", 5000)).retry_after_seconds <= 59


async def test_a_settlement_replaces_the_reservation_once(store):
    await store.create(UserRecord("lgy", tpm=1000))
    await admit(store, "lgy", "1", 100)
    assert await store.settle(Settlement("lgy", "1", 30, reserved=100))
    assert await spent(store) == (1, 30, 0)
    assert not await store.settle(Settlement("lgy", "1", 30, reserved=100))
    assert await spent(store) == (1, 30, 0)
    await admit(store, "lgy", "2", 100)
    assert await store.settle(Settlement("lgy", "2", 0, reserved=100))
    assert await spent(store) == (2, 30, 0)


async def test_a_settlement_may_go_into_debt(store):
    await store.create(UserRecord("lgy", tpm=100))
    await admit(store, "lgy", "1", 10)
    assert await store.settle(Settlement("lgy", "1", 5000, reserved=10))
    refused = await admit(store, "lgy", "2", 1)
    assert (refused.outcome, refused.tokens_used) == (Outcome.TOKENS_EXCEEDED, 5000)


async def test_debt_is_a_days_worth_of_the_limit_at_most(store):
    await store.create(UserRecord("lgy", rpm=10, tpm=10))
    await store.settle(Settlement("lgy", "1", 10**9))
    usage = await store.usage("lgy")
    assert usage.tokens_used == 10 + 10 * 24 * 60
    await store.settle(Settlement("lgy", "2", 10**9))
    assert (await store.usage("lgy")).tokens_used == usage.tokens_used


async def test_a_settlement_before_its_admission_ends_in_the_same_balance(store):
    await store.create(UserRecord("lgy", tpm=1000, max_parallel=1))
    assert await store.settle(Settlement("lgy", "1", 30, reserved=100))
    assert await store.settle(Settlement("lgy", "2", 130, reserved=100))
    assert await spent(store) == (0, 30, 0)
    assert not await store.settle(Settlement("lgy", "1", 30, reserved=100))
    assert await outcome(store, "lgy", "1", 100) is Outcome.ADMITTED
    assert await outcome(store, "lgy", "2", 100) is Outcome.ADMITTED
    # The exchanges have ended: their admissions take no slots.
    assert await spent(store) == (2, 160, 0)
    assert not await store.settle(Settlement("lgy", "1", 30, reserved=100))
    assert await outcome(store, "lgy", "1", 100) is Outcome.ADMITTED
    assert await spent(store) == (2, 160, 0)


async def test_a_settlement_without_an_admission_is_charged(store):
    await store.create(UserRecord("lgy"))
    assert await store.settle(Settlement("lgy", "1", 100))
    assert not await store.settle(Settlement("lgy", "1", 100))
    assert await store.settle(Settlement("lgy", "2", -5))
    assert await store.settle(Settlement("nobody", "1", 100))
    assert await spent(store) == (0, 100, 0)


async def test_an_admission_that_is_repeated_is_debited_once(store):
    await store.create(UserRecord("lgy", rpm=1, tpm=100, max_parallel=1))
    asked = {"model": "m", "model_requests_per_second": 1}
    for _ in range(3):
        decision = await admit(store, "lgy", "1", 60, **asked)
        assert (decision.outcome, decision.reserved_tokens) == (Outcome.ADMITTED, 60)
    assert await spent(store) == (1, 60, 1)
    await store.settle(Settlement("lgy", "1", 10, reserved=60))
    assert await outcome(store, "lgy", "1", 60) is Outcome.ADMITTED
    assert await spent(store) == (1, 10, 0)


async def test_a_batch_is_settled_once_and_per_user(store):
    await store.create(UserRecord("lgy"))
    await store.create(UserRecord("{tag}"))
    batch = [Settlement("lgy", "1", 10), Settlement("lgy", "1", 10), Settlement("{tag}", "1", 20)]
    assert await store.settle_many(batch) == 2
    assert await store.settle_many([*batch, Settlement("lgy", "2", 5)]) == 1
    assert await store.settle_many([]) == 0
    assert await spent(store) == (0, 15, 0)
    assert await spent(store, "{tag}") == (0, 20, 0)


async def test_slots_are_taken_and_given_back(store):
    await store.create(UserRecord("lgy", max_parallel=2))
    assert await outcome(store, "lgy", "1") is Outcome.ADMITTED
    assert await outcome(store, "lgy", "2") is Outcome.ADMITTED
    refused = await admit(store, "lgy", "3", 7)
    assert (refused.outcome, refused.retry_after_seconds) == (Outcome.PARALLEL_EXCEEDED, 1.0)
    assert await spent(store) == (2, 0, 2)
    for _ in range(2):
        await release(store, "lgy", "1")
    assert await spent(store) == (2, 0, 1)
    assert await outcome(store, "lgy", "3") is Outcome.ADMITTED
    assert await outcome(store, "lgy", "4") is Outcome.PARALLEL_EXCEEDED
    # Whoever settles has ended, too.
    await store.settle(Settlement("lgy", "3", 1))
    assert await outcome(store, "lgy", "4") is Outcome.ADMITTED


async def test_an_admission_that_comes_after_its_release_takes_no_slot(store):
    await store.create(UserRecord("lgy", max_parallel=1))
    await release(store, "lgy", "1")
    assert await outcome(store, "lgy", "1", 9) is Outcome.ADMITTED
    assert await spent(store) == (1, 9, 0)
    await release(store, "lgy", "2")
    assert await store.settle(Settlement("lgy", "2", 5))
    assert await outcome(store, "lgy", "2") is Outcome.ADMITTED
    assert await spent(store) == (2, 14, 0)


async def test_releasing_does_not_hide_a_charge_from_its_settlement(store):
    await store.create(UserRecord("lgy"))
    await admit(store, "lgy", "1", 50)
    await release(store, "lgy", "1")
    await release(store, "lgy", "1")
    assert await store.settle(Settlement("lgy", "1", 20, reserved=50))
    await release(store, "lgy", "1")
    assert not await store.settle(Settlement("lgy", "1", 20, reserved=50))
    assert await spent(store) == (1, 20, 0)


async def test_a_models_rate_is_everybodys(store):
    await store.create(UserRecord("lgy", rpm=1))
    await store.create(UserRecord("kim"))
    asked = {"model": "m", "model_requests_per_second": 2}
    answers = [await admit(store, user, "1", 5, **asked) for user in ("lgy", "kim")]
    assert [answer.outcome for answer in answers] == [Outcome.ADMITTED] * 2
    refused = await admit(store, "kim", "2", 5, **asked)
    if refused.outcome is Outcome.ADMITTED:
        pytest.skip("the machine was too slow for one second")
    assert refused.outcome is Outcome.MODEL_RATE_EXCEEDED
    assert 0 < refused.retry_after_seconds <= 1
    assert await spent(store, "kim") == (1, 5, 0)
    assert await outcome(store, "kim", "3", model="other", model_requests_per_second=2) is Outcome.ADMITTED
    assert await outcome(store, "kim", "4", model="m") is Outcome.ADMITTED


async def test_who_is_refused_takes_nothing_from_the_models_rate(store):
    await store.create(UserRecord("lgy", rpm=1))
    await store.create(UserRecord("kim"))
    asked = {"model": "m", "model_requests_per_second": 2}
    assert await outcome(store, "lgy", "1", **asked) is Outcome.ADMITTED
    for number in range(3):
        assert await outcome(store, "lgy", f"again {number}", **asked) is Outcome.REQUESTS_EXCEEDED
        assert await outcome(store, "nobody", f"again {number}", **asked) is Outcome.UNKNOWN_USER
    assert await outcome(store, "kim", "1", **asked) is Outcome.ADMITTED


async def test_overrides_hold_on_top_of_the_users_own(store):
    await store.create(UserRecord("lgy", rpm=4, tpm=100, overrides={"big": (2, 30), "free": (0, 0)}))
    first = await admit(store, "lgy", "1", 50, model="big")
    # The scope with the least left is told about.
    assert (first.limits, first.requests_used, first.tokens_used) == (Limits(2, 30), 1, 30)
    assert await outcome(store, "lgy", "2", 1, model="big") is Outcome.TOKENS_EXCEEDED
    await store.settle(Settlement("lgy", "1", 10, reserved=30, model="big"))
    assert await outcome(store, "lgy", "2", 1, model="big") is Outcome.ADMITTED
    refused = await admit(store, "lgy", "3", 1, model="big")
    assert (refused.outcome, refused.limits) == (Outcome.REQUESTS_EXCEEDED, Limits(2, 30))
    other = await admit(store, "lgy", "4", 50, model="small")
    assert (other.limits, other.requests_used, other.tokens_used) == (Limits(4, 100), 3, 61)
    assert await outcome(store, "lgy", "5", 1, model="free") is Outcome.ADMITTED
    assert await outcome(store, "lgy", "6", 1, model="free") is Outcome.REQUESTS_EXCEEDED
    assert await spent(store) == (4, 62, 0)


async def test_a_settlement_without_an_admission_counts_for_the_models_limit(store):
    await store.create(UserRecord("lgy", overrides={"big": (0, 30)}))
    await store.settle(Settlement("lgy", "1", 30, model="big"))
    assert await outcome(store, "lgy", "2", 1, model="big") is Outcome.TOKENS_EXCEEDED
    assert await outcome(store, "lgy", "3", 1) is Outcome.ADMITTED


async def test_other_names_may_stand_for_a_model(store):
    await store.create(UserRecord("lgy", models=("gpt-4o", "label:team=a")))
    assert await outcome(store, "lgy", "1", model="m") is Outcome.MODEL_NOT_ALLOWED
    for number, name in enumerate(("gpt-4o", "label:team=a")):
        other_names = ("x", name, "y")
        assert await outcome(store, "lgy", f"2{number}", model="m", other_names=other_names) is Outcome.ADMITTED
    for number, name in enumerate(("gpt", "gpt-4o2", "label:team=", "label:team")):
        other_names = ("x", name, "y")
        assert (
            await outcome(store, "lgy", f"3{number}", model="m", other_names=other_names) is Outcome.MODEL_NOT_ALLOWED
        )


async def test_models_and_disabled_users(store):
    await store.create(UserRecord("lgy", models=("a", "b")))
    assert await outcome(store, "lgy", "1", model="b") is Outcome.ADMITTED
    assert await outcome(store, "lgy", "2") is Outcome.ADMITTED
    assert await admit(store, "lgy", "3", model="c") == Decision(Outcome.MODEL_NOT_ALLOWED, None)
    await store.update(UserRecord("lgy", disabled=True, models=("a",)))
    assert await admit(store, "lgy", "4", model="c") == Decision(Outcome.DISABLED, None)
    assert await spent(store) == (2, 0, 0)


async def test_zero_limits_mean_the_defaults(store):
    await store.create(UserRecord("lgy"))
    await store.create(UserRecord("rpm", rpm=7, max_parallel=3))
    assert (await admit(store, "lgy", "1")).limits == Limits(100, 100_000)
    assert (await admit(store, "rpm", "1")).limits == Limits(7, 7000, 3)


async def test_the_largest_limit_is_no_limit(store):
    largest = 2**63 - 1
    record = UserRecord("lgy", largest, largest, largest, overrides={"m": (largest, largest)})
    await store.create(record)
    decision = await admit(store, "lgy", "1", 1_000_000, model="m")
    assert decision.outcome is Outcome.ADMITTED
    assert decision.reserved_tokens == 1_000_000
    assert decision.limits is not None
    assert decision.limits.requests_per_minute >= largest
    assert await store.read("lgy") == record
    assert await store.settle(Settlement("lgy", "1", 10**15, 1_000_000, "m"))
    assert (await store.usage("lgy")).tokens_used == 10**15


async def test_asking_costs_nothing(store):
    await store.create(UserRecord("lgy", rpm=1, max_parallel=1))
    for _ in range(3):
        assert await store.usage("lgy") == Usage(Limits(1, 1000, 1), 0, 0)
    assert await outcome(store, "lgy", "1") is Outcome.ADMITTED


async def test_an_unknown_user(store):
    assert await admit(store, "nobody", "1", 5) == Decision(Outcome.UNKNOWN_USER, None)
    assert await store.usage("nobody") is None
    assert await store.read("nobody") is None
    assert not await store.update(UserRecord("nobody"))
    assert not await store.delete("nobody")
    assert await store.read("nobody") is None


async def test_a_deleted_user_is_unknown_and_starts_afresh(store):
    record = UserRecord("lgy", rpm=1, tpm=10, max_parallel=1, overrides={"m": (1, 10)})
    await store.create(record)
    await admit(store, "lgy", "1", 9, model="m")
    assert await store.delete("lgy")
    assert await outcome(store, "lgy", "2") is Outcome.UNKNOWN_USER
    assert await store.create(record)
    assert await store.usage("lgy") == Usage(Limits(1, 10, 1), 0, 0)
    # What the deleted one had reserved is not given to the new one.
    await store.settle(Settlement("lgy", "1", 0, reserved=9, model="m"))
    assert await store.usage("lgy") == Usage(Limits(1, 10, 1), 0, 0)
    assert (await admit(store, "lgy", "2", 10, model="m")).tokens_used == 10


async def test_create_keeps_what_exists_and_update_replaces_it(store):
    assert await store.create(UserRecord("lgy", rpm=1, tpm=2, disabled=True))
    assert not await store.create(UserRecord("lgy", rpm=3))
    assert not await store.create(UserRecord("lgy", rpm=1, tpm=2, disabled=True))
    assert await store.read("lgy") == UserRecord("lgy", rpm=1, tpm=2, disabled=True)
    assert await store.update(UserRecord("lgy", rpm=3))
    assert await store.read("lgy") == UserRecord("lgy", rpm=3)


async def test_names_are_listed_up_to_a_limit(store):
    for name in NAMES:
        await store.create(UserRecord(name))
        await admit(store, name, "1", 1)
    assert await store.names(100) == sorted(NAMES)
    few = await store.names(3)
    assert len(few) == 3
    assert set(few) <= set(NAMES)
    assert await store.names(0) == []


@pytest.mark.parametrize("name", NAMES)
async def test_any_name_has_counters_of_its_own(store, name):
    for other in NAMES:
        await store.create(UserRecord(other, rpm=1, tpm=10, max_parallel=1))
    assert await outcome(store, name, "1", 3) is Outcome.ADMITTED
    assert await outcome(store, name, "2") is Outcome.REQUESTS_EXCEEDED
    assert await store.settle(Settlement(name, "3", 4))
    assert await spent(store, name) == (1, 7, 1)
    for other in NAMES:
        if other != name:
            assert await spent(store, other) == (0, 0, 0)
    assert await store.delete(name)
    assert await store.read(name) is None


async def test_no_verb_takes_an_invalid_name(store):
    calls = (store.usage, store.read, store.delete, store.keys, store.create_key)
    for name in ("", "a\nb", "\ud800", "x" * 257):
        for call in calls:
            with pytest.raises(InvalidUserName):
                await call(name)
        for call in (store.create, store.update):
            with pytest.raises(InvalidUserName):
                await call(UserRecord(name))
        with pytest.raises(InvalidUserName):
            await admit(store, name, "1")
        with pytest.raises(InvalidUserName):
            await store.settle(Settlement(name, "1", 1))
        with pytest.raises(InvalidUserName):
            await release(store, name, "1")
        with pytest.raises(InvalidUserName):
            await store.revoke_key(name, "1")


async def test_exactly_the_limit_passes_of_many_at_once(store):
    await store.create(UserRecord("lgy", rpm=20))

    async def client() -> int:
        passed = 0
        for _ in range(5):
            passed += await outcome(store, "lgy", f"{id(asyncio.current_task())} {passed} {_}") is Outcome.ADMITTED
            await asyncio.sleep(0)
        return passed

    assert sum(await asyncio.gather(*(client() for _ in range(8)))) == 20


async def test_ping(store):
    await store.ping()
