"""Tokens by bytes, set right by what engines counted."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.prefix.prefix_blocks import BLOCK_TOKENS, KINDS, LEAST_RATIO, MOST_RATIO, PromptEstimates, kind_of

CHINESE = "\u4f60\u597d\uff0c\u4e16\u754c" * 40


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (b"", "ascii"),
        (b'[{"role":"user","content":"What is the capital of France?"}]', "ascii"),
        ("Où est la bibliothèque, s'il vous plaît ?".encode(), "accents"),
        (
            ("\u0433\u0434\u0435 \u0431\u0438\u0431\u043b\u0438\u043e\u0442\u0435\u043a\u0430 " * 9).encode(),
            "two bytes",
        ),
        (json.dumps(CHINESE, ensure_ascii=False).encode(), "three bytes"),
        (json.dumps(CHINESE).encode(), "escaped"),
    ],
)
def test_kinds_of_text(text: bytes, kind: str):
    assert KINDS[kind_of(text)] == kind


def test_a_ratio_is_learned_by_model_and_kind():
    estimates = PromptEstimates()
    plain, escaped = estimates.of("m", b"Hello"), estimates.of("m", json.dumps(CHINESE).encode())
    for _ in range(40):
        escaped.observe(2000.0, 1000)
    assert escaped.ratio == pytest.approx(0.5, rel=0.1)
    assert escaped.block_tokens[:3] == pytest.approx([tokens * escaped.ratio for tokens in BLOCK_TOKENS[:3]])
    assert plain.ratio == estimates.of("other", json.dumps(CHINESE).encode()).ratio == 1.0


def test_one_prompt_moves_it_little_and_pictures_not_at_all():
    ratio = PromptEstimates().of_kind("m", 0)
    ratio.observe(1e6, 3e6)
    assert 1.0 < ratio.ratio < 2.4
    known = ratio.ratio
    ratio.observe(100.0, 3000.0)
    ratio.observe(0.0, 0.0)
    assert ratio.ratio == known


@given(st.lists(st.tuples(st.floats(0.0, 1e7), st.integers(0, 10**8)), max_size=200))
def test_whatever_is_counted_a_ratio_is_bounded(lessons: list[tuple[float, int]]):
    ratio = PromptEstimates().of_kind("m", 0)
    for plain, real in lessons:
        ratio.observe(plain, real)
    assert LEAST_RATIO * 0.98 <= ratio.ratio <= MOST_RATIO * 1.02


def test_models_that_nobody_asks_for_any_more_go():
    estimates = PromptEstimates()
    for number in range(5000):
        estimates.of_kind(str(number), 0)
    assert len(estimates._models) <= 4096
