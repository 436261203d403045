"""Ready pods as columns of one moment: what is scanned of hundreds, where `Candidates` reads a few dozen.

Fancy indexing copies, so a view's columns do not change under who reads them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from routing.pods.formulas import where_unknown

if TYPE_CHECKING:
    from routing.pods.books import Books
    from routing.pods.columns import FloatColumn, HashColumn, IntColumn

# vLLM on one 80 GiB card with an 8B model holds a few hundred thousand tokens; this is the cautious side.
DEFAULT_KV_CAPACITY_TOKENS = 131_072.0


class PodView:
    """Candidates of one request. Position i of every column is the pod of `rows[i]`; rows are in stable order."""

    __slots__ = (
        "_matched",
        "_positions",
        "best_match_tokens",
        "books",
        "holders",
        "rows",
        "stale_after_seconds",
        "whole",
    )

    def __init__(self, books: Books, rows: IntColumn, stale_after_seconds: float) -> None:
        self.books = books
        self.rows = rows
        self.stale_after_seconds = stale_after_seconds
        """Age from which on polled numbers are unknown."""
        self._matched: FloatColumn | None = None
        self.best_match_tokens = 0.0
        """The longest match of any pod."""
        self.holders = 1
        """How many pods hold the longest match; 1 when nobody holds anything."""
        self.whole = self
        """All pods that the request could go to, where this is a shortlist of them."""
        self._positions: IntColumn | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def shortlist(self, positions: IntColumn) -> PodView:
        """The pods at these positions, which keep what is known of all: the match, places, means."""
        few = PodView(self.books, self.rows[positions], self.stale_after_seconds)
        few.whole, few._positions = self, positions
        if self._matched is not None:
            few._matched = self._matched[positions]
        few.best_match_tokens, few.holders = self.best_match_tokens, self.holders
        return few

    @property
    def matched_tokens(self) -> FloatColumn:
        """Prompt tokens that each pod is believed to have cached; zeros unless the policy needs prefixes."""
        return self.nothing if self._matched is None else self._matched

    @matched_tokens.setter
    def matched_tokens(self, tokens: FloatColumn) -> None:
        self._matched = tokens
        self.best_match_tokens = best = float(np.maximum.reduce(tokens)) if len(tokens) else 0.0
        self.holders = int(np.count_nonzero(tokens == best)) if best else 1

    @property
    def nothing(self) -> FloatColumn:
        """Zeros."""
        return np.zeros(len(self.rows))

    @property
    def place(self) -> FloatColumn:
        """0 for the first pod of all, 1 for the last."""
        positions = np.arange(len(self.rows)) if self._positions is None else self._positions
        return positions / max(len(self.whole) - 1, 1)

    @property
    def inflight_requests(self) -> FloatColumn:
        """Requests that the gateway has open on each pod, all its replicas, by what they probably do now."""
        known = self.books.inflight_requests(self.rows)
        return known + self.books.mirror.requests(self.rows) if self.books.has_elsewhere else known

    @property
    def inflight_prompt_tokens(self) -> FloatColumn:
        """Prompt tokens of the open requests."""
        columns = self.books.columns
        own = columns.inflight_prompt_tokens[self.rows]
        return own + columns.inflight_prompt_tokens_elsewhere[self.rows] if self.books.has_elsewhere else own

    @property
    def inflight_output_tokens(self) -> FloatColumn:
        """Output tokens expected of the open requests."""
        columns = self.books.columns
        own = columns.inflight_output_tokens[self.rows]
        return own + columns.inflight_output_tokens_elsewhere[self.rows] if self.books.has_elsewhere else own

    @property
    def prefill_backlog_tokens(self) -> FloatColumn:
        """Prompt tokens that each pod still has to compute."""
        return self.books.backlog_tokens(self.rows, self.prefill_tokens_per_second)

    @property
    def mean_backlog_tokens(self) -> float:
        """The same of one pod in the mean."""
        return float(np.add.reduce(self.prefill_backlog_tokens)) / len(self.rows)

    @property
    def prefill_backlog_seconds(self) -> FloatColumn:
        """The time that each pod still needs for them."""
        rate = self.prefill_tokens_per_second
        return self.books.backlog_tokens(self.rows, rate) / rate

    @property
    def prefill_tokens_per_second(self) -> FloatColumn:
        """Speed of prefill, measured or assumed."""
        return self.books.prefill_rate(self.rows)

    @property
    def busy_ratio(self) -> FloatColumn:
        """Share of the last minute with work, 0 to 1."""
        return self.books.busy_ratio(self.rows)

    @property
    def window_prompt_tokens(self) -> FloatColumn:
        """Prompt tokens of requests that ended in the last minute."""
        return self.books.prompt_tokens.totals(self.rows, self.books.clock())

    @property
    def window_output_tokens(self) -> FloatColumn:
        """Output tokens of requests that ended in the last minute."""
        return self.books.output_tokens.totals(self.rows, self.books.clock())

    @property
    def kv_usage_ratio(self) -> FloatColumn:
        """Share of the KV cache in use: the last poll, and what was booked since; may exceed 1."""
        columns = self.books.columns
        booked = columns.booked_tokens_since_poll[self.rows] / self.kv_capacity_tokens
        return self._fresh(columns.kv_usage_ratio[self.rows]) + booked

    @property
    def kv_capacity_tokens(self) -> FloatColumn:
        """Tokens that fit into the KV cache, told by the engine or assumed."""
        capacity = self.books.columns.kv_capacity_tokens[self.rows]
        capacity[np.isnan(capacity)] = DEFAULT_KV_CAPACITY_TOKENS
        return capacity

    @property
    def ttft_seconds(self) -> FloatColumn:
        """Mean time to first token: seen by Envoy, else said by the engine, else NaN."""
        columns = self.books.columns
        return where_unknown(columns.ttft_seconds[self.rows], columns.engine_ttft_seconds[self.rows])

    @property
    def tpot_seconds(self) -> FloatColumn:
        """Mean time per output token: seen by Envoy, else said by the engine, else NaN."""
        columns = self.books.columns
        return where_unknown(columns.tpot_seconds[self.rows], columns.engine_tpot_seconds[self.rows])

    @property
    def address_hash(self) -> HashColumn:
        """A hash of each pod's address, the same on every replica."""
        return self.books.columns.address_hash[self.rows]

    def _fresh(self, values: FloatColumn) -> FloatColumn:
        age = self.books.clock() - self.books.columns.polled_at_seconds[self.rows]
        return np.where(age <= self.stale_after_seconds, values, np.nan)
