"""`gateway-plugin top`: what it prints of a snapshot, as the feed encodes it."""

from __future__ import annotations

import io
import json

import msgspec
from rich.console import Console

from gateway_plugin.cli.top_command import picture
from gateway_plugin.http import live_shape as shape

WEIGHED = tuple(
    shape.WeighedPod(pod, f"10.0.0.{number}:8000", cost, {"requests": cost}, 0.0)
    for number, (pod, cost) in enumerate((("pod-1", 0.25), ("pod-2", 0.75)))
)
RATES = shape.Rates(4.5, 1.5, {}, 0.0, 10.0, 20.0, 0.05, 0.125, 3)
SNAPSHOT = shape.LiveSnapshot(
    at_seconds=1000.0,
    replica="replica-a",
    version="1.2.3",
    up_seconds=60.0,
    ready=True,
    models=(),
    pods=(
        shape.PodTile(
            *("pod-1", "10.0.0.0:8000", ("m",), True, "closed", None, None, 2, 1, 2.0, 0.0, 0.5, None, 7, None, 0.0),
            *(0.1, None, 0.2, 30),
        ),
        shape.PodTile(
            *(
                "pod-2",
                "10.0.0.1:8000",
                ("m",),
                True,
                "open",
                "refused",
                3.0,
                0,
                0,
                None,
                None,
                None,
                None,
                0,
                None,
                0.0,
            ),
            *(None, None, None, 0),
        ),
    ),
    pods_left_out=0,
    decisions=(
        shape.DecisionLine(
            *(1, 999.0, "0123456789abcdef", "[red]kim", "m", "least-request", "b", "pod-1", "10.0.0.0:8000", WEIGHED),
            *(10, 0.0, 0.001, None, None, None),
        ),
    ),
    refusals=(shape.RefusalLine(2, 999.0, "r-2", "", "10.9.9.9", "m", 429, "rpm_exceeded", "has exceeded RPM: 3"),),
    users=(
        shape.UserRow("kim", 999.0, 100, 40, 1000, 250, 1, 0, ""),
        shape.UserRow("lee", 999.0, None, None, None, None, 1, 0, ""),
    ),
    limiter=shape.LimiterState("redis", "down", "local", 1, 0, 0, 0),
    rates=RATES,
    warnings=(shape.Trouble("Code", "endpoints", "not taken over", "correct the file"),),
)


def printed(problem: str = "") -> str:
    out = io.StringIO()
    console = Console(file=out, width=140, markup=False)
    console.print(picture(json.loads(msgspec.json.encode(SNAPSHOT)), problem))
    return out.getvalue()


def line_of(word: str) -> list[str]:
    [line] = [line for line in printed().splitlines() if line.lstrip().startswith(word)]
    return [cell.strip() for cell in line.split("│")]


def test_figures_limits_and_warnings():
    text = printed()
    assert "4.5 requests/s, 3 in flight, 1.5 refused/s, 0.0 failed/s, TTFT 50 ms, p95 125 ms" in text
    assert "limits: redis down" in text
    assert "! endpoints: not taken over; correct the file" in text


def test_pods_and_what_is_not_known_of_them():
    assert line_of("pod-1") == ["pod-1", "well", "3", "0", "50%", "-", "-", "100 ms"]
    assert line_of("pod-2")[:3] == ["pod-2", "left out: refused", "0"]


def test_a_decision_beside_its_runner_up_and_names_as_they_are():
    assert line_of("0123456789abc") == ["0123456789abc", "[red]kim", "pod-1", "0.25", "pod-2", "0.75", "-", "-"]


def test_users_and_refusals():
    assert line_of("kim") == ["kim", "40 of 100", "250 of 1000", "0", ""]
    assert line_of("lee")[1:3] == ["-", "-"]
    assert line_of("r-2") == ["r-2", "10.9.9.9", "429", "has exceeded RPM: 3"]


def test_a_lost_plugin_is_told_above_the_last_picture():
    assert "no plugin answers" in printed("no plugin answers at http://x")
    assert "pod-1" in printed("no plugin answers")
