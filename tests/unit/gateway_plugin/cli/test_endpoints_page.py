"""The page of the docs is the table."""

from __future__ import annotations

from pathlib import Path

from gateway_plugin.cli.endpoints_page import page


def test_the_page_is_current():
    assert Path(__file__).parents[4].joinpath("docs/endpoints.md").read_text() == page(), "run: make docs"
