"""The pod table: what stays, what goes, and that leases never touch a stranger's books."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from routing.pods.books import Lease
from routing.pods.pod_table import PodTable
from routing.spec import ClusterState, PodSpec


def pod(number: int, *models: str, uid: str = "", ready: bool = True) -> PodSpec:
    return PodSpec(f"pod-{number}", f"10.0.0.{number}:8000", models or ("m",), uid=uid, ready=ready)


def state(*pods: PodSpec, models: tuple[str, ...] = ()) -> ClusterState:
    return ClusterState(pods, frozenset(models))


def table(*pods: PodSpec, models: tuple[str, ...] = ()) -> PodTable:
    result = PodTable(lambda: 0.0)
    result.apply(state(*pods, models=models))
    return result


def inflight(pods: PodTable, address: str) -> int:
    row = pods.row_of(address)
    assert row is not None
    return int(pods.columns.inflight_requests[row])


def test_a_pod_seen_again_keeps_its_books_and_metrics():
    pods = table(pod(1), pod(2))
    row = pods.row_of("10.0.0.1:8000")
    assert row is not None
    lease = pods.book(row)
    pods.columns.kv_usage_ratio[row] = 0.5

    pods.apply(state(pod(2), pod(1, ready=False)))

    assert pods.row_of("10.0.0.1:8000") == row
    assert inflight(pods, "10.0.0.1:8000") == 1
    assert pods.columns.kv_usage_ratio[row] == 0.5
    lease.release()
    assert inflight(pods, "10.0.0.1:8000") == 0


def test_a_new_uid_at_an_old_address_is_a_new_pod():
    pods = table(pod(1, uid="a"))
    old = pods.book(0)
    pods.apply(state(pod(1, uid="b")))
    assert inflight(pods, "10.0.0.1:8000") == 0
    assert old.release()
    assert inflight(pods, "10.0.0.1:8000") == 0, "the predecessor's lease must not count against the successor"


def test_a_lease_is_released_once():
    pods = table(pod(1))
    lease = pods.book(0)
    assert (lease.release(), lease.release()) == (True, False)
    assert inflight(pods, "10.0.0.1:8000") == 0
    assert repr(lease) == "<Lease row=0 incarnation=1 released>"


def test_models_without_pods_stay_known():
    pods = table(pod(1, "a", ready=False), models=("b",))
    assert pods.models() == ["a", "b"]
    assert pods.knows("b")
    assert not pods.knows("c")
    assert [len(pods.view(model)) for model in ("a", "b")] == [0, 0]
    with pytest.raises(KeyError):
        pods.view("c")


def test_one_pod_may_serve_many_models():
    pods = table(pod(1, "base", "adapter"), pod(2, "base"))
    assert [len(pods.view(model)) for model in ("base", "adapter")] == [2, 1]


def test_rows_grow_beyond_the_first_capacity():
    pods = table(*(pod(number) for number in range(100)))
    leases = [pods.book(int(row)) for row in pods.view("m").rows]
    pods.apply(state(*(pod(number) for number in range(250))))
    assert pods.view("m").inflight_requests.sum() == 100
    for lease in leases:
        lease.release()
    assert pods.view("m").inflight_requests.sum() == 0
    assert repr(pods) == "<PodTable 250 pods, 1 models, 0 in flight>"


def test_polled_numbers_age_into_unknown():
    now = [100.0]
    pods = PodTable(lambda: now[0], stale_after_seconds=10.0)
    pods.apply(state(pod(1), pod(2)))
    pods.columns.kv_usage_ratio[:2] = 0.5
    pods.columns.polled_at_seconds[0] = 95.0
    assert [str(x) for x in pods.view("m").kv_usage_ratio] == ["0.5", "nan"], "never polled is unknown"
    now[0] = 105.0
    assert str(pods.view("m").kv_usage_ratio[0]) == "0.5"
    now[0] = 105.1
    assert str(pods.view("m").kv_usage_ratio[0]) == "nan"


def test_latency_is_averaged_with_weight_one_fifth():
    pods = table(pod(1))
    pods.observe("10.0.0.1:8000", ttft_seconds=1.0, tpot_seconds=None)
    pods.observe("10.0.0.1:8000", ttft_seconds=2.0, tpot_seconds=0.5)
    pods.observe("10.9.9.9:1", ttft_seconds=9.0, tpot_seconds=9.0)
    assert pods.columns.ttft_seconds[0] == pytest.approx(1.2)
    assert pods.columns.tpot_seconds[0] == 0.5


class Books(RuleBasedStateMachine):
    """Any order of pods coming and going, bookings and releases: the books equal the leases held on living pods."""

    leases = Bundle("leases")

    def __init__(self) -> None:
        super().__init__()
        self.table = PodTable(lambda: 0.0)
        self.held: dict[int, tuple[Lease, str, str]] = {}
        self.living: dict[str, str] = {}
        self.counter = 0

    @rule(alive=st.dictionaries(st.integers(0, 20), st.sampled_from("abc")))
    def discover(self, alive: dict[int, str]) -> None:
        self.table.apply(state(*(pod(number, uid=uid) for number, uid in alive.items()), models=("m",)))
        living = {f"10.0.0.{number}:8000": uid for number, uid in alive.items()}
        gone = {address for address, uid in self.living.items() if living.get(address) != uid}
        self.held = {key: held for key, held in self.held.items() if held[1] not in gone}
        self.living = living

    @rule(target=leases, pick=st.integers(0, 1000))
    def book(self, pick: int) -> tuple[int, Lease] | None:
        rows = list(self.table.view("m").rows) if self.table.knows("m") else []
        if not rows:
            return None
        row = int(rows[pick % len(rows)])
        lease = self.table.book(row)
        self.counter += 1
        address = self.table.spec(row).address
        self.held[self.counter] = (lease, address, self.living[address])
        return self.counter, lease

    @rule(held=leases)
    def release(self, held: tuple[int, Lease] | None) -> None:
        if held is not None:
            held[1].release()
            self.held.pop(held[0], None)

    @invariant()
    def books_balance(self) -> None:
        for address in self.living:
            expected = sum(1 for _, at, _ in self.held.values() if at == address)
            assert inflight(self.table, address) == expected
        assert (self.table.columns.inflight_requests >= 0).all()


TestBooks = Books.TestCase


@given(st.lists(st.integers(0, 50), max_size=60))
def test_the_table_always_equals_the_last_state(numbers: list[int]) -> None:
    pods = PodTable(lambda: 0.0)
    for number in numbers:
        pods.apply(state(*(pod(n) for n in range(number)), models=("m",)))
        assert len(pods.view("m")) == number
        assert len(list(pods.items())) == number
