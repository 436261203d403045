"""Results are read as they were written, and say themselves what they hold."""

from pathlib import Path

import pytest

from gateway_plugin.tools.bench.machine import machine
from gateway_plugin.tools.bench.results import Figure, FigureSpread, Line, Result, ResultError, read, write


def result() -> Result:
    return Result(
        name="some",
        machine=machine(),
        load={"requests": 10},
        repeats=3,
        figures=[Figure("json/TTFB", "ms", (2.0, None, 1.0))],
        lines=[Line("TTFB", 1.5, 2.0, "ms"), Line("never measured", None, 1.0)],
        errors={"503": 2},
        series={"curve": [[0.0, 1.0]]},
    )


def test_what_is_written_is_read(tmp_path: Path) -> None:
    written = result()
    assert read(write(written, tmp_path / "new")) == written


def test_what_is_not_finite_was_not_measured(tmp_path: Path) -> None:
    path = write(Result(name="a", machine={}, load=1, repeats=1, figures=[Figure("x", "s", (float("nan"),))]), tmp_path)
    assert read(path)["x"].values == (None,)


def test_spreads() -> None:
    assert result()["json/TTFB"].spread == FigureSpread(1.5, 1.0, 2.0)
    assert FigureSpread(1.5, 1.0, 2.0).show(1) == "1.5 [1.0-2.0]"
    assert FigureSpread(1234.0, 1234.0, 1234.0).show() == "1,234"


def test_promises() -> None:
    assert [line.holds for line in result().lines] == [True, False]


def test_trouble_in_words() -> None:
    assert result().trouble == "2 errors (2 x 503), 0 timeouts."
    assert Result(name="a", machine={}, load=1, repeats=1).trouble == "No errors, no timeouts."


def test_no_result(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match="No such file"):
        read(tmp_path / "missing.json")
    (tmp_path / "other.json").write_text('{"name": 3}')
    with pytest.raises(ResultError, match=r"other\.json: not the result of a benchmark"):
        read(tmp_path / "other.json")
