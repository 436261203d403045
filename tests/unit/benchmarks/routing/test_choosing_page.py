"""docs/choosing-a-strategy.md says what the committed result says, and has an example for every strategy."""

from __future__ import annotations

import re

from benchmarks.results import ROOT, read
from benchmarks.routing.choosing import PAGE, page, source_of
from benchmarks.routing.examples import EXAMPLES
from benchmarks.routing.figures import KINDS
from routing.strategies.every import all_policies


def test_the_page_is_the_one_of_its_result():
    text = PAGE.read_text()
    source = source_of(text)
    assert text == page(read(ROOT / source), source), "run `make docs`"


def test_every_strategy_has_its_example():
    assert sorted(example.strategy for example in EXAMPLES) == sorted(all_policies(lambda: 0.0, None))  # type: ignore[arg-type]  # nothing is drawn
    assert {kind for example in EXAMPLES for kind in example.kinds} <= set(KINDS)
    headings = re.findall(r"^## (\S+)$", PAGE.read_text(), re.MULTILINE)
    assert headings == [example.strategy for example in EXAMPLES]


def test_the_page_begins_with_an_answer_in_two_lines():
    lines = PAGE.read_text().splitlines()
    assert "prefix-cache-and-load" in lines[2]
    assert "least-request" in lines[3]
    assert not lines[4]
