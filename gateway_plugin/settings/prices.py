"""What a million tokens cost, by model: `MODEL=PROMPT/CACHED/OUTPUT, ...`; `*` stands for all others."""

from __future__ import annotations

import math

from gateway_plugin.settings.topic import items_of

Prices = dict[str, tuple[float, float, float]]
"""By model: of a million prompt tokens that were computed, that were cached, and of output."""


def parse_prices(text: str) -> Prices:
    """Raises ValueError."""
    prices: Prices = {}
    for item in items_of(text):
        # Names of models may hold "=" and "/": the last "=" divides.
        model, equals, numbers = item.rpartition("=")
        parts = numbers.split("/")
        if not model or not equals or len(parts) != 3:
            raise ValueError(f"{item!r} is not MODEL=PROMPT/CACHED/OUTPUT")
        prices[model] = (_price(parts[0], item), _price(parts[1], item), _price(parts[2], item))
    return prices


def _price(text: str, item: str) -> float:
    try:
        price = float(text)
    except ValueError:
        price = math.nan
    if not 0 <= price < math.inf:
        raise ValueError(f"{item!r}: {text!r} is not a price")
    return price
