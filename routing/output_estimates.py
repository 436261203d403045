"""How many tokens a model usually generates, learned from its finished requests.

expected = min(client's maximum, mean),  mean: EWMA with weight 0.05; 128 tokens until the first request ended
"""

from __future__ import annotations

DEFAULT_OUTPUT_TOKENS = 128.0
_WEIGHT = 0.05
# Models come from the pod table, but go, too; this many remembered ones are more than any deployment serves.
_MAX_MODELS = 4096


class OutputEstimates:
    """One mean per model."""

    def __init__(self) -> None:
        self._means: dict[str, float] = {}

    def expected(self, model: str, max_output_tokens: int | None) -> float:
        """Tokens that a request is expected to generate."""
        mean = self._means.get(model, DEFAULT_OUTPUT_TOKENS)
        return mean if max_output_tokens is None else min(mean, float(max_output_tokens))

    def observe(self, model: str, output_tokens: int) -> None:
        """A request of the model ended with that many tokens."""
        known = self._means.get(model)
        if known is None:
            if len(self._means) >= _MAX_MODELS:
                self._means.clear()
            known = float(output_tokens)
        self._means[model] = known + _WEIGHT * (output_tokens - known)
