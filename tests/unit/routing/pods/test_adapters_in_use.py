"""Slots for LoRA adapters: who waits, and that what is counted is taken off."""

from __future__ import annotations

from math import nan

from hypothesis import given
from hypothesis import strategies as st

from routing.pods.adapters_in_use import LOAD_SECONDS, AdaptersInUse
from routing.pods.books import Work
from routing.pods.pod_table import PodTable
from routing.spec import ClusterState, PodSpec


def test_one_joins_its_own_takes_a_free_slot_or_waits_for_others():
    adapters = AdaptersInUse()
    for adapter in ("a", "a", "b"):
        adapters.began(0, adapter)
    assert adapters.wait_seconds(0, "a", 2.0, 5.0) == 0.0
    assert adapters.wait_seconds(0, "c", 3.0, 5.0) == LOAD_SECONDS
    assert adapters.wait_seconds(0, "c", 2.0, 5.0) == LOAD_SECONDS + 5.0, "b has one answer to end"
    assert adapters.wait_seconds(0, "c", nan, 5.0) == 0.0, "nobody said that there are slots"
    assert adapters.wait_seconds(1, "c", 2.0, 5.0) == LOAD_SECONDS, "an idle pod"


def test_what_a_slot_still_holds_need_not_be_loaded():
    adapters = AdaptersInUse()
    for adapter in ("a", "b", "c"):
        adapters.began(0, adapter)
        adapters.ended(0, adapter)
    assert adapters.wait_seconds(0, "b", 2.0, 5.0) == 0.0
    assert adapters.wait_seconds(0, "a", 2.0, 5.0) == LOAD_SECONDS, "the third took its slot"


def test_a_lease_counts_its_adapter_while_it_is_held():
    pods = PodTable(lambda: 0.0)
    specs = tuple(PodSpec(f"pod-{i}", f"10.0.0.{i}:8000", ("m", "a")) for i in range(2))
    pods.apply(ClusterState(specs, frozenset()))
    rows = [pods.row_of(spec.address) or 0 for spec in specs]
    lease = pods.book(rows[0], Work(10, 10, 10))
    lease.needs("a")
    lease.move(rows[1])
    assert [pods.books.adapters.running(row) for row in rows] == [[], ["a"]]
    lease.release()
    lease.release()
    assert pods.books.adapters.running(rows[1]) == []


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abc")), max_size=60))
def test_counts_never_go_below_nothing(steps: list[tuple[bool, str]]):
    adapters, model = AdaptersInUse(), dict.fromkeys("abc", 0)
    for begins, adapter in steps:
        if begins:
            adapters.began(0, adapter)
            model[adapter] += 1
        else:
            adapters.ended(0, adapter)
            model[adapter] = max(0, model[adapter] - 1)
    assert adapters.running(0) == sorted(adapter for adapter, count in model.items() if count)
