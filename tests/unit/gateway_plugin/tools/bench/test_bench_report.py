"""What people read: failures in place of numbers, what must be known beside them, plots that can be drawn."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from rich.console import Console

from gateway_plugin.tools.bench.outcome import result_of
from gateway_plugin.tools.bench.progress import milliseconds, picture
from gateway_plugin.tools.bench.results import Figure, FigureSpread, Result, read, write
from gateway_plugin.tools.bench.sample import UNFINISHED, Sample
from gateway_plugin.tools.bench.section import page, section
from gateway_plugin.tools.bench.showing import cell, kinds, number, rows, warnings
from gateway_plugin.tools.bench.summary import Objective, Summary
from gateway_plugin.tools.bench.tally import Tally


def sample(at: float, *, trouble: str = "", pod: str = "pod-1", first: float | None = 0.5, late: float = 0.0) -> Sample:
    return Sample(
        at,
        trouble=trouble,
        message=trouble and f"about {trouble} | {trouble}",
        pod=pod,
        late_seconds=late,
        first_seconds=first,
        last_seconds=first and first + 0.9,
        total_seconds=1.5,
        output_tokens=10,
        prompt_tokens=100,
        cached_tokens=50,
        from_usage=True,
        strategy="random",
    )


def tally(strategy: str, *samples: Sample, stopped: str = "") -> Tally:
    made = Tally(strategy, stopped=stopped)
    for each in samples:
        made.send(each)
        if each.trouble == UNFINISHED:
            made.give_up()
        else:
            made.end(each, [0.1])
    made.seconds, made.cpu_seconds = 10.0, 1.0
    return made


def bad() -> Result:
    good = [sample(float(n), pod=f"pod-{n % 2}") for n in range(96)]
    broken = [
        sample(97.0, trouble="503", first=None),
        sample(98.0, trouble="timeout"),
        sample(99.0, trouble=UNFINISHED),
    ]
    runs = [tally("random", *good, *broken, stopped="by hand"), tally("least-request", *good, sample(99.0, late=1.0))]
    return result_of(runs, Objective(), {"command": "gateway-plugin bench"}, {"stream": True, "rate": 1})


def test_summaries() -> None:
    run = Summary(tally("", sample(0.0), sample(1.0, first=3.0)), Objective(2.0, 0.1), {"pod-1", "pod-2"})
    assert (run.good, run.skew, run.cached_share) == (1, 2.0, 0.5)
    assert run.tpot.quantile(0.5) == pytest.approx(0.1)
    assert run.per_second(2) == 0.2
    nothing = Summary(tally(""), Objective(), set())
    assert math.isnan(nothing.skew)
    assert math.isnan(nothing.late_p99_seconds)


def test_rows_side_by_side() -> None:
    table = {row[0]: row[1:] for row in rows(bad())}
    assert table["sent"] == ["99", "97"]
    assert table["unfinished"] == ["1", "0"]
    assert table["TTFT p50, ms"] == ["500", "500"]
    assert table["TTFT p99, ms"] == ["more than 1 % failed", "500"]
    assert table["failed, %"] == ["2.04", "0"]
    assert table["skew, busiest / mean"][0] == "1.03"
    assert list(table)[:4] == ["sent", "answered", "unfinished", "TTFT p50, ms"]


def test_what_must_be_known_beside_the_numbers() -> None:
    found = warnings(bad())
    assert found[0].startswith("THE GENERATOR DID NOT KEEP UP: least-request: requests sent late, p99: 40 ms.")
    assert "random: ended early: by hand" in found
    assert "random: 1 requests were under way at the end; they count as slower than they had waited" in found
    assert "least-request: the gateway used other strategies: random x 97" in found
    assert any(text.startswith("random: p99 of 99 requests") for text in found)
    assert kinds(bad()) == [
        "random: 1 x 503: about 503 | 503",
        "random: 1 x timeout: about timeout | timeout",
    ]


def test_nothing_to_warn_of() -> None:
    samples = [sample(float(n)) for n in range(100)]
    assert warnings(result_of([tally("random", *samples)], Objective(), {}, {"stream": True})) == []


def test_no_strategy_is_named() -> None:
    samples = [sample(float(n)) for n in range(100)]
    for each in samples:
        each.strategy, each.from_usage = "", False
    found = warnings(result_of([tally("random", *samples)], Objective(), {}, {"stream": True}))
    assert found == [
        "random: no answer names a strategy (header routing-strategy): nothing shows that this one was used",
        "random: 100 answers without usage; their tokens are events of the stream",
    ]


def test_cells() -> None:
    failed = Figure("a/failed", "%", (3.0, 0.0))
    assert cell(Figure("a/TTFT p90", "ms", (None,)), failed) == "more than 10 % failed"
    assert cell(Figure("a/TTFT p90", "ms", (5.0, None)), failed) == "more than 10 % failed (5.00 in others)"
    assert cell(Figure("a/TTFT p90", "ms", (None,)), Figure("a/failed", "%", (0.0,))) == "beyond the end"
    assert cell(None, failed) == "-"
    assert [number(FigureSpread(value, value, value)) for value in (0.0, 0.01, 1.5, 15.5, 1500.4)] == [
        *("0", "0.010", "1.50", "15.5", "1,500")
    ]


def test_the_page_is_made_from_what_was_written(tmp_path: Path) -> None:
    result = read(write(bad(), tmp_path))
    text = page(result, tmp_path / "images")
    assert section(result, tmp_path / "images") in text
    assert "| TTFT p99, ms | more than 1 % failed | 500 |" in text
    assert "- random: 1 x 503: about 503 \\| 503" in text
    assert "| pod-1 | 51 | 49 |" in text
    for name in ("bench-latency.svg", "bench-timeline.svg"):
        assert f"(images/{name})" in text
        assert (tmp_path / "images" / name).read_text().startswith("<?xml")
    assert "](images" not in section(result, None)


def test_a_result_stays_small(tmp_path: Path) -> None:
    samples = [sample(float(n), first=n * 1.0001) for n in range(5000)]
    result = result_of([tally("random", *samples)], Objective(), {}, {"stream": True})
    assert write(result, tmp_path).stat().st_size < 100_000
    assert len(result.series["random"]["ttft_seconds"][0]) <= 201
    assert len(result.series["random"]["timeline"]["at_seconds"]) <= 101


def test_the_live_view() -> None:
    console = Console(width=200)
    failing = tally("", *[sample(0.0, trouble=f"kind {n}") for n in range(6)], sample(0.0))
    with console.capture() as capture:
        console.print(picture([failing, Tally("random", repeat=1)]))
    shown = capture.get()
    assert "default" in shown
    assert "2 other kinds" in shown
    assert "random #2" in shown
    assert [milliseconds(value) for value in (math.nan, math.inf, 0.1234)] == ["-", "failed", "123 ms"]
