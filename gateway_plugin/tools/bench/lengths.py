"""How long prompts and answers are, in tokens: a number, a range, or a distribution with a tail."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from random import Random

FORMS = "512, 100-2000 (evenly), exponential:MEAN or lognormal:MEDIAN:SIGMA"
LONGEST_TOKENS = 10_000_000
"""What no engine takes; a typing error would fill the memory with one prompt."""
_SHAPES = {"exponential": 1, "lognormal": 2}


class LengthsError(ValueError):
    """No distribution; the text says what is allowed."""


@dataclass(frozen=True, slots=True)
class AskLengths:
    """`even` from `first` to `second`; `exponential` with mean `first`; `lognormal`: median `first`, sigma `second`."""

    shape: Literal["even", "exponential", "lognormal"]
    first: float
    second: float = 0.0

    def draw(self, rng: Random) -> int:
        """At least one token."""
        match self.shape:
            case "even":
                tokens = rng.randint(int(self.first), int(self.second))
            case "exponential":
                tokens = round(rng.expovariate(1.0 / self.first))
            case "lognormal":
                tokens = round(rng.lognormvariate(math.log(self.first), self.second))
        return min(max(1, tokens), LONGEST_TOKENS)


def parse(text: str, option: str) -> AskLengths:
    """Reads one of FORMS; raises LengthsError that names the option."""
    wrong = LengthsError(f"{option} {text}: expected {FORMS}, in tokens from 1 to {LONGEST_TOKENS:,}")
    name, *rest = text.split(":")
    try:
        if name in _SHAPES:
            return _shaped(name, [float(number) for number in rest], wrong)
        least, dash, most = text.partition("-")
        first, second = int(least), int(most if dash else least)
    except ValueError as error:
        raise wrong from error
    if not 1 <= first <= second <= LONGEST_TOKENS:
        raise wrong
    return AskLengths("even", first, second)


def _shaped(name: str, numbers: list[float], wrong: LengthsError) -> AskLengths:
    first, *second = numbers
    if len(numbers) != _SHAPES[name] or not 1 <= first <= LONGEST_TOKENS or not all(0 <= each <= 10 for each in second):
        raise wrong
    return AskLengths("exponential", first) if name == "exponential" else AskLengths("lognormal", first, second[0])
