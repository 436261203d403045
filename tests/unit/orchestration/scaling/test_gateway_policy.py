"""The size that the gateway's own figures ask for, and what it learns on the way."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hypothesis import given
from hypothesis import strategies as st

from orchestration.scaling.arrival_rate import ArrivalRate
from orchestration.scaling.gateway_policy import GatewayOptions, GatewayPolicy, GatewayView
from orchestration.scaling.samples import Why
from orchestration.scaling.shortfall import Shortfall
from orchestration.scaling.start_times import UNKNOWN_SECONDS, StartTimes
from orchestration.scaling.sustained import SustainedConcurrency
from orchestration.scaling.victims import DrainCandidate, deletion_costs, victims

START_SECONDS = 60.0
CHEAP = GatewayOptions(utilisation=1.0, ready_for=0.0)


@dataclass
class Service:
    """Requests of ten seconds at pods that hold twenty of them; looks are five seconds apart."""

    options: GatewayOptions = CHEAP
    replicas: int = 2
    policy: GatewayPolicy = field(init=False)
    view: GatewayView = field(init=False)
    sizes: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.policy = GatewayPolicy(self.options)
        self.view = GatewayView(0.0, self.replicas, self.replicas, 0, 0, 0, 0.0, 0, 0, 0, 0.0, 0, 0.0)

    def look(self, rate: float, seconds: float = 5.0) -> int:
        """All is served in time; as many end as come."""
        before, new = self.view, rate * seconds
        in_flight = round(rate * 10)
        self.view = replace(
            before,
            at_seconds=before.at_seconds + seconds,
            replicas=self.replicas,
            ready=self.replicas,
            in_flight=in_flight,
            busiest=-(-in_flight // self.replicas),
            kv_usage=min(1.0, in_flight / self.replicas / 20),
            arrived_total=before.arrived_total + new,
            first_tokens_total=before.first_tokens_total + new,
            decoded_total=before.decoded_total + new,
            decode_seconds_total=before.decode_seconds_total + new * 10,
        )
        self.replicas = self.policy.recommend(self.view, START_SECONDS).replicas
        self.sizes.append(self.replicas)
        return self.replicas


def test_a_steady_load_has_the_pods_that_hold_it_and_no_flapping():
    service = Service(replicas=3)
    for _ in range(400):
        service.look(5.0)  # 50 at once, 20 on a pod
    assert set(service.sizes[-200:]) == {3}


def test_a_rise_is_met_ahead_and_a_jump_within_ten_seconds():
    slow, jumping = Service(), Service()
    for _ in range(120):
        slow.look(2.0)
        jumping.look(2.0)
    when = next(number for number in range(200) if slow.look(2.0 + 0.05 * number) > 3)
    assert 2.0 + 0.05 * when < 5.9  # more than three pods are needed from 6 requests/s on
    assert [jumping.look(10.0) for _ in range(2)][-1] >= 5


def test_nothing_shrinks_while_a_controller_is_new_and_then_it_does():
    service = Service(replicas=6)
    sizes = [service.look(3.0) for _ in range(120)]
    assert set(sizes[:55]) == {6}
    assert sizes[-1] == 2


def test_nothing_known_changes_nothing():
    policy = GatewayPolicy()
    answer = policy.recommend(GatewayView(0, 3, 3, 0, 0, 0, None, 0, 0, 0, 0, 0, 0), START_SECONDS)
    assert (answer.replicas, answer.why) == (3, Why.NO_METRICS)


def test_bursts_that_come_again_are_met_by_pods_that_are_there():
    careful, reactive = Service(GatewayOptions(1.0, 0.95)), Service(GatewayOptions(1.0, 0.0))
    for service in (careful, reactive):
        for number in range(720):
            service.look(8.0 if number % 120 >= 90 else 2.0)
    # Just before a burst.
    for service in (careful, reactive):
        for _ in range(80):
            service.look(2.0)
    assert careful.replicas >= 4
    assert reactive.replicas <= 2


@given(st.lists(st.floats(0, 20), min_size=3, max_size=40), st.integers(1, 8))
def test_more_held_never_wants_fewer(rates: list[float], more: int):
    service, busier = Service(), Service()
    for rate in rates:
        service.look(rate)
        busier.look(rate)
    one, other = replace(service.view, at_seconds=1e4), replace(busier.view, at_seconds=1e4, held=more)
    less = service.policy.recommend(one, START_SECONDS).replicas
    assert busier.policy.recommend(other, START_SECONDS).replicas >= less


def rate_of(totals: list[float], every: float = 5.0) -> ArrivalRate:
    rate = ArrivalRate()
    for number, total in enumerate(totals):
        rate.observe(number * every, total)
    return rate


def test_noise_is_no_trend_and_a_trend_is_believed_to_a_bound():
    assert rate_of([10.0 * number + (number % 2) for number in range(30)]).growth(60) == 1.0
    rising = rate_of([number * number * 2.0 for number in range(30)])
    assert 1.2 < rising.growth(60) <= 1.5
    assert rate_of([-((60 - number) ** 2) * 2.0 for number in range(30)]).growth(60) == 1.0


def test_what_fits_is_known_before_a_pod_is_full_and_late_tokens_say_less():
    sustained = SustainedConcurrency()
    assert sustained.per_pod() is None
    sustained.load(0, 12, 20, 0.5, 2)
    assert sustained.per_pod() == 20
    for second in range(10):
        sustained.load(5.0 * second, 16, 20, 0.5, 2)
        sustained.told(5.0 * second, 10, 2)
    assert sustained.per_pod() == 2 ** (15 / 4)  # the bucket below that of 16


def test_without_usage_it_tries_a_little_more_than_went_well():
    sustained = SustainedConcurrency()
    for second in range(10):
        sustained.load(5.0 * second, 16, 20, None, 2)
        sustained.told(5.0 * second, 10, 0)
    assert sustained.per_pod() == 20


def test_a_shortfall_is_what_came_within_a_start():
    shortfall = Shortfall()
    for number in range(200):
        shortfall.observe(5.0 * number, 4.0 if number % 40 >= 30 else 1.0)
    assert shortfall.reserve(60, 0.5) == 0
    assert shortfall.reserve(60, 0.95) == 3
    assert Shortfall().reserve(60, 0.95) == 0


def test_start_times_are_the_median_of_the_last_ones():
    starts = StartTimes()
    assert starts.seconds() == UNKNOWN_SECONDS
    for number in range(40):
        starts.took(f"p{number}", 10.0 if number < 20 else 90.0)
    starts.took("p39", 5.0)
    starts.took("stuck", 9e9)
    assert starts.seconds() == 90


def pod(name: str, in_flight: int = 0, cached: float = 0, *, ready: bool = True, created: float = 0) -> DrainCandidate:
    return DrainCandidate(name, ready, in_flight, cached, created)


def test_who_goes_first():
    pods = [
        pod("busy", 9),
        pod("cold", 1, 10),
        pod("warm", 1, 99),
        pod("starting", ready=False),
        pod("young", 1, 10, created=5),
    ]
    assert victims(pods, 4) == ("starting", "young", "cold", "warm")


def test_who_was_chosen_stays_chosen():
    pods = [pod("a", 2), pod("b", 1)]
    assert victims(pods, 1, chosen=["a"]) == ("a",)
    assert victims(pods, 0, chosen=["a"]) == ()


def test_the_first_to_go_costs_least():
    assert deletion_costs([pod("a"), pod("b")], ["b", "a", "gone"]) == {"b": -3, "a": -2}
