"""What an exchange still holds of somebody's limits when it is over."""

from __future__ import annotations

import pytest

from gateway_plugin.accounting.limiting import GiveBack
from gateway_plugin.exchange.replies import Forward
from ratelimit import Decision, Limits, Outcome

FORWARD = Forward("m", "request-1", "charge-1", "lgy", "lgy", reserved_tokens=40)


def admitted(max_parallel: int) -> Decision:
    return Decision(Outcome.ADMITTED, Limits(3, 3000, max_parallel))


@pytest.mark.parametrize(
    ("max_parallel", "reached_a_pod", "slot_and_refund"),
    [
        pytest.param(0, True, None, id="the access log settles it"),
        pytest.param(2, True, (True, False), id="the slot is free again"),
        pytest.param(0, False, (False, True), id="what no pod has seen costs nothing"),
        pytest.param(2, False, (True, True), id="both"),
    ],
)
def test_what_is_given_back(max_parallel: int, reached_a_pod: bool, slot_and_refund: tuple[bool, bool] | None):
    back = FORWARD.give_back(admitted(max_parallel), reached_a_pod=reached_a_pod)
    assert back == (slot_and_refund and GiveBack("lgy", "charge-1", "m", *slot_and_refund, reserved_tokens=40))


def test_who_was_not_admitted_holds_nothing():
    assert FORWARD.give_back(None, reached_a_pod=False) is None
    assert Forward("m", "request-1", "charge-1").give_back(admitted(2), reached_a_pod=False) is None
