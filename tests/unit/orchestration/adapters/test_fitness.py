"""What an adapter's own configuration says against loading it."""

from __future__ import annotations

import pytest

from orchestration.adapters.fitness import unfit

BASE = ("llama-8b", "meta-llama/Llama-3.1-8B-Instruct")


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"peft_type": "LORA", "r": 16, "base_model_name_or_path": "/data/llama-3.1-8b-instruct/"}, None),
        ({}, None),
        ({"r": 64}, "RankTooLarge"),
        ({"base_model_name_or_path": "Qwen/Qwen2.5-Coder-1.5B-Instruct"}, "WrongBase"),
        ({"peft_type": "IA3"}, "NotLora"),
    ],
)
def test_what_is_said_against_it(config: dict[str, object], reason: str | None):
    found = unfit(config, BASE, 32)
    assert (found.reason if found else None) == reason


def test_what_is_not_known_is_not_held_against_it():
    assert unfit({"r": 64, "base_model_name_or_path": "x/y"}, (), None) is None
