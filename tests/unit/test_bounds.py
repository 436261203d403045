"""Bounds that are no settings: each says why it is what it is, and all stand on one page."""

from __future__ import annotations

import ast
import importlib.util

import pytest

from tests.house.bounds import NO_BOUNDS, Bound, bounds, is_number, page
from tests.house.plan import ROOT

HOUSE = tuple(bounds())


def test_every_bound_says_why():
    assert [f"{bound.module}.{bound.name}" for bound in HOUSE if not bound.why] == []


def test_what_has_no_bounds_is_there():
    for name in NO_BOUNDS:
        assert importlib.util.find_spec(name), name


def test_all_stand_on_the_page():
    assert (ROOT / "docs" / "bounds.md").read_text(encoding="utf-8") == page(), "run: make docs"


def test_values_are_those_in_force():
    (size,) = [bound for bound in HOUSE if (bound.module, bound.name) == ("gateway_plugin.http.gate", "MAX_BODY_BYTES")]
    assert size.value == 1024 * 1024
    assert isinstance(size, Bound)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3", True),
        ("-0.5", True),
        ("64 * MIB", True),
        ("2**53 - 1", True),
        ("True", False),
        ("'3'", False),
        ("f(3)", False),
    ],
)
def test_numbers_are_told(text: str, *, expected: bool):
    assert is_number(ast.parse(text, mode="eval").body) is expected
