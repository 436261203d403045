"""The benchmark of one request measures every part of it."""

import asyncio
from argparse import Namespace
from pathlib import Path

import pytest

from benchmarks.exchange_cost import OPEN_CALLS, PARTS, figures_of, measure
from benchmarks.exchange_cost_section import section
from benchmarks.results import Result


@pytest.mark.parametrize("limits", ["none", "memory"])
def test_every_part_costs_something(limits: str, tmp_path: Path):
    arguments = Namespace(strategy="prefix-cache-and-load", pods=3, limits=limits, calls=4 * OPEN_CALLS, repeats=2)
    figures = figures_of(asyncio.run(measure(arguments, {})))

    assert [figure.path for figure in figures] == [*PARTS, "whole"]
    assert all(value is not None and value > 0 for figure in figures for value in figure.values)
    text = section(Result(name="exchange_cost", machine={}, load="some", repeats=2, figures=figures), tmp_path)
    assert text.startswith("## ")
    assert "| body |" in text
