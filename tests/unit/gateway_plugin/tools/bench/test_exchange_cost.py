"""The benchmark of one request measures every part of it."""

import asyncio
from argparse import Namespace
from pathlib import Path

import pytest

from benchmarks.exchange_cost import OPEN_CALLS, PARTS, figures_of, measure
from benchmarks.exchange_cost_section import section
from benchmarks.results import Result


@pytest.mark.parametrize(("limits", "stream"), [("none", False), ("memory", True)])
def test_every_part_costs_something(limits: str, stream: bool, tmp_path: Path):
    calls, strategy = 4 * OPEN_CALLS, "prefix-cache-and-load"
    arguments = Namespace(strategy=strategy, pods=3, limits=limits, stream=stream, calls=calls, repeats=2)
    figures = figures_of(asyncio.run(measure(arguments, {})))

    assert [figure.path for figure in figures] == [*PARTS, "whole"]
    assert all(value is not None and value > 0 for figure in figures for value in figure.values)
    text = section(Result(name="exchange_cost", machine={}, load="some", repeats=2, figures=figures), tmp_path)
    assert text.startswith("## ")
    assert "| body |" in text
