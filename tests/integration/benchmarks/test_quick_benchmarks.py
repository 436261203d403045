"""Every benchmark runs from one end to the other, small: what it measures, writes, and shows. Figures mean nothing."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from benchmarks.held import Held, Sample, as_result
from benchmarks.limits.__main__ import main as limits
from benchmarks.models import main as models
from benchmarks.overhead.__main__ import main as overhead
from benchmarks.overhead.matrix import BUSY, STREAMS
from benchmarks.overhead.report import ADDED_P50, PLUGIN
from benchmarks.overhead.variants import ALONE, FREE
from benchmarks.results import Result, read, write
from benchmarks.scale.__main__ import main as scale
from benchmarks.soak.__main__ import main as soak
from benchmarks.transport.__main__ import main as transport

pytestmark = [pytest.mark.envoy, pytest.mark.redis]


def report(name: str, directory: Path) -> tuple[Result, str]:
    """What was written, and its section; every picture it shows is there."""
    file = directory / f"{name}.json"
    assert file.stat().st_size < 200_000
    result = read(file)
    assert (result.errors, result.timeouts) == ({}, 0)
    names = (f"benchmarks.{name}_section", f"benchmarks.{name}.section")
    module = next(one for one in names if importlib.util.find_spec(one))
    text = importlib.import_module(module).section(result, directory / "images")
    assert text.startswith("## ")
    shown = {part.partition(")")[0] for part in text.split("](images/")[1:]}
    assert shown == {path.name for path in directory.glob("images/*")}
    return result, text


def test_overhead_with_peers(tmp_path: Path) -> None:
    proxy = Path(__file__).with_name("reverse_proxy.py")
    peers = (
        f"--peer=a proxy={sys.executable} {proxy} {{upstream}} {{port}},0,/ready",
        f"--peer-ext-proc=an echo={sys.executable} -m benchmarks.overhead.echo {{port}} {{ops}} native,0,buffered",
    )
    assert overhead(["--quick", "--out", str(tmp_path), *peers]) == 0
    result, text = report("overhead", tmp_path)
    for subject in ("a proxy", "an echo", FREE):
        assert result[f"{BUSY.path}/{subject}/{PLUGIN}"].spread.least > 0
        # So few streams may cost less than what the process does beside them, which is taken off.
        assert result[f"{STREAMS.path}/{subject}/{PLUGIN}"].spread.least >= 0
        for cell in (BUSY, STREAMS):
            assert result[f"{cell.path}/{subject}/{ADDED_P50}"].unit == "ms"
    assert result[f"{BUSY.path}/{ALONE}/{PLUGIN}"].values == (0.0,)
    assert "| a proxy |" in text


def test_limits(tmp_path: Path) -> None:
    assert limits(["--quick", "--out", str(tmp_path)]) == 0
    result, _ = report("limits", tmp_path)
    assert all(one["admitted"] == one["limit"] for one in result.series["accuracy"])
    away = {mode: sum(steps["unavailable"]) for mode, steps in result.series["outages"].items()}
    assert (away["local"], away["open"], away["closed"] > 0) == (0, 0, True)


def test_scale(tmp_path: Path) -> None:
    assert scale(["--quick", "--out", str(tmp_path)]) == 0
    result, text = report("scale", tmp_path)
    assert all(figure.spread.least >= 0 for figure in result.figures)
    assert result["event-loop lag/no requests/p50_ms"].unit == "ms"
    assert "| `prefix-cache-and-load` |" in text


def test_soak(tmp_path: Path) -> None:
    assert soak(["--quick", "--out", str(tmp_path)]) == 0
    result, _ = report("soak", tmp_path)
    assert [line.what for line in result.lines if not line.holds] == []
    curves = result.series["valkey"]
    assert [what for _, what in curves["events"]] == ["killed", "started"]
    assert curves["completed"] + curves["aborted"] == 1200
    assert curves["aborted"] > 60


def test_transport(tmp_path: Path) -> None:
    assert transport(["--quick", "--out", str(tmp_path)]) == 0
    result, text = report("transport", tmp_path)
    assert result["512 B/native/plugin_us"].spread.least < result["512 B/grpcio/plugin_us"].spread.least
    assert "| grpcio, 512 B |" in text


def test_models(tmp_path: Path) -> None:
    assert models(["--quick", "--out", str(tmp_path)]) == 0
    result, text = report("models", tmp_path)
    assert result["list/kib"].spread.least > 50
    assert "| list, 304 |" in text


def test_the_section_of_held_streams(tmp_path: Path) -> None:
    samples = [Sample(0.0, 1, 80.0, 50.0), Sample(1.0, 10, 81.0, 52.0)]
    write(as_result(Held(10, 10, 3.5, 40.0, {}, 0, 10, {}, 0, samples), 150.0), tmp_path)
    _, text = report("held", tmp_path)
    assert "costs the plugin 3.5 KB" in text
