"""What is wrong although nothing fails: an Envoy whose configuration is not the plugin's."""

from __future__ import annotations

import pytest

from gateway_plugin.app.live_wiring import UNHEARD_REQUESTS, UNHEARD_SECONDS, TroubleWatch, unheard_log_troubles
from gateway_plugin.http.live_shape import Trouble
from gateway_plugin.metrics.stories import Stories


def sent_on(count: int) -> Stories:
    stories = Stories(100, lambda: 1000.0)
    for number in range(count):
        stories.sent_on(str(number), str(number), "u", "m", "/v1/x", "random", None, 1, 1, 0.1)
    return stories


@pytest.mark.parametrize(
    ("requests", "age_seconds", "batches", "expected"),
    [
        (UNHEARD_REQUESTS, UNHEARD_SECONDS + 1, 0, ["NoAccessLog"]),
        (UNHEARD_REQUESTS, UNHEARD_SECONDS + 1, 1, []),
        (UNHEARD_REQUESTS, UNHEARD_SECONDS - 1, 0, []),
        (UNHEARD_REQUESTS - 1, UNHEARD_SECONDS + 1, 0, []),
    ],
)
def test_a_log_that_never_comes_is_noticed(requests: int, age_seconds: float, batches: int, expected: list[str]):
    found = unheard_log_troubles(sent_on(requests), batches, lambda: 1000.0 + age_seconds)
    assert [one.code for one in found] == expected


def test_a_trouble_is_told_when_it_begins_and_when_it_ends(caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO")
    now = [Trouble("NoAccessLog", "envoy", "nothing is charged", "write it anew")]
    watch = TroubleWatch(lambda: now)
    watch.look()
    watch.look()
    now = []
    watch.look()
    assert [record.message for record in caplog.records] == [
        "envoy: nothing is charged; write it anew",
        "envoy: over: nothing is charged",
    ]
