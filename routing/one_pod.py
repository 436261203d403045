"""What a policy sees of few candidates: one pod after the other, a number where `PodView` has a column.

Every property has the name and the meaning of the view's; those that tell of all candidates tell the same here.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Self, cast

from routing.formulas import where_unknown
from routing.view import DEFAULT_KV_CAPACITY_TOKENS, PodView

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from routing.columns import FloatColumn, IntColumn
    from routing.policy import Policy, RoutingRequest

FEW_PODS = 16
"""Up to here, one after the other is faster than columns."""


class OnePod:
    """One candidate of a view at a time; `at` moves on."""

    __slots__ = (
        "_books",
        "_cells",
        "_extremes",
        "_matched",
        "_mean_backlog",
        "_mean_tpot",
        "_mean_ttft",
        "_now",
        "_row",
        "_rows",
        "_stale_after_seconds",
        "_view",
        "best_match_tokens",
        "holders",
        "matched_tokens",
        "position",
    )

    def __init__(self, view: PodView) -> None:
        self._view = view
        self._books = view.books
        self._cells = view.books.cells
        self._now = view.books.clock()
        few = len(view) <= FEW_PODS
        self._rows: Sequence[int] | IntColumn = view.row_numbers if few else view.rows
        self._matched: Sequence[float] | FloatColumn = view.matched_numbers if few else view.matched_tokens
        self._stale_after_seconds = view.stale_after_seconds
        # Of all candidates, when a formula asks for them; a mean of 0 stands for an unknown one.
        self._extremes: tuple[float, float] | None = None
        self._mean_backlog: float | None = None
        self._mean_tpot: float | None = None
        self._mean_ttft: float | None = None
        self._row = self.position = 0
        self.matched_tokens = 0.0
        self.best_match_tokens = view.best_match_tokens
        self.holders = view.holders

    def at(self, position: int) -> Self:
        """The same object, now that candidate."""
        self.position = position
        self._row = self._rows[position]
        self.matched_tokens = self._matched[position]
        return self

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def nothing(self) -> float:
        return 0.0

    @property
    def place(self) -> float:
        return self.position / max(len(self._rows) - 1, 1)

    @property
    def inflight_requests(self) -> float:
        books = self._books
        if books.has_elsewhere:
            return books.requests_of(self._row) + books.mirror.requests_of(self._row)
        return float(self._cells.inflight_requests[self._row])

    @property
    def fewest_inflight_requests(self) -> float:
        return self._extreme_inflight_requests[0]

    @property
    def most_inflight_requests(self) -> float:
        return self._extreme_inflight_requests[1]

    @property
    def known_inflight_requests(self) -> float:
        return self._books.requests_of(self._row)

    @property
    def inflight_prompt_tokens(self) -> float:
        own = self._cells.inflight_prompt_tokens[self._row]
        return own + self._cells.inflight_prompt_tokens_elsewhere[self._row] if self._books.has_elsewhere else own

    @property
    def inflight_output_tokens(self) -> float:
        own = self._cells.inflight_output_tokens[self._row]
        return own + self._cells.inflight_output_tokens_elsewhere[self._row] if self._books.has_elsewhere else own

    @property
    def prefill_backlog_tokens(self) -> float:
        return self._books.backlog_of(self._row, self._now)

    @property
    def mean_backlog_tokens(self) -> float:
        if self._mean_backlog is None:
            self._mean_backlog = sum([pod.prefill_backlog_tokens for pod in self._all()]) / len(self._rows)
        return self._mean_backlog

    @property
    def prefill_backlog_seconds(self) -> float:
        return self._books.backlog_of(self._row, self._now) / self._books.rate_of(self._row)

    @property
    def prefill_tokens_per_second(self) -> float:
        return self._books.rate_of(self._row)

    @property
    def prefill_is_measured(self) -> bool:
        return not math.isnan(self._cells.prefill_tokens_per_second[self._row])

    @property
    def busy_ratio(self) -> float:
        return self._books.busy_ratio_of(self._row, self._now)

    @property
    def window_prompt_tokens(self) -> float:
        return self._books.prompt_tokens.total(self._row, self._now)

    @property
    def window_output_tokens(self) -> float:
        return self._books.output_tokens.total(self._row, self._now)

    @property
    def engine_requests(self) -> float:
        cells, row, books = self._cells, self._row, self._books
        polled = cells.running_requests[row] + where_unknown(cells.waiting_requests[row], 0.0)
        known = self._fresh(polled) + cells.booked_requests_since_poll[row]
        return known + books.mirror.requests_of(row) if books.has_elsewhere else known

    @property
    def waiting_requests(self) -> float:
        return self._fresh(self._cells.waiting_requests[self._row])

    @property
    def kv_usage_ratio(self) -> float:
        cells, row = self._cells, self._row
        if not self._now - cells.polled_at_seconds[row] <= self._stale_after_seconds:
            return math.nan
        capacity = cells.kv_capacity_tokens[row]
        if capacity != capacity:
            capacity = DEFAULT_KV_CAPACITY_TOKENS
        return cells.kv_usage_ratio[row] + cells.booked_tokens_since_poll[row] / capacity

    @property
    def kv_capacity_tokens(self) -> float:
        return where_unknown(self._cells.kv_capacity_tokens[self._row], DEFAULT_KV_CAPACITY_TOKENS)

    @property
    def ttft_seconds(self) -> float:
        return where_unknown(self._cells.ttft_seconds[self._row], self._cells.engine_ttft_seconds[self._row])

    @property
    def tpot_seconds(self) -> float:
        seconds = self._cells.tpot_seconds[self._row]
        return seconds if seconds == seconds else self._cells.engine_tpot_seconds[self._row]

    @property
    def relative_tpot(self) -> float:
        if self._mean_tpot is None:
            self._mean_tpot = _mean([pod.tpot_seconds for pod in self._all()])
        value = self.tpot_seconds
        return value / self._mean_tpot if self._mean_tpot and value == value else 1.0

    @property
    def relative_ttft(self) -> float:
        if self._mean_ttft is None:
            self._mean_ttft = _mean([pod.ttft_seconds for pod in self._all()])
        value = self.ttft_seconds
        return value / self._mean_ttft if self._mean_ttft and value == value else 1.0

    @property
    def address_hash(self) -> int:
        return self._cells.address_hash[self._row]

    def _fresh(self, value: float) -> float:
        age_seconds = self._now - self._cells.polled_at_seconds[self._row]
        return value if age_seconds <= self._stale_after_seconds else math.nan

    @property
    def _extreme_inflight_requests(self) -> tuple[float, float]:
        if self._extremes is None:
            if len(self._rows) > FEW_PODS:
                self._extremes = self._view.fewest_inflight_requests, self._view.most_inflight_requests
            else:
                counts = [pod.inflight_requests for pod in self._all()]
                self._extremes = min(counts), max(counts)
        return self._extremes

    def _all(self) -> Iterator[Self]:
        """Every candidate in turn, and at last the present one again."""
        position = self.position
        for each in range(len(self._rows)):
            yield self.at(each)
        self.at(position)


def costs_one_by_one(policy: Policy, view: PodView, pod: OnePod, request: RoutingRequest) -> list[float]:
    """What `policy.costs` gives for the view whose pods `pod` goes through, for a policy that allows `one_by_one`."""
    # In a formula, a number is a column of one pod.
    try:
        return [_total(policy.terms(cast("PodView", pod.at(position)), request)) for position in range(len(view))]
    except ZeroDivisionError:  # where numpy gives infinity
        column: list[float] = policy.costs(view, request).tolist()
        return column


def _mean(values: list[float]) -> float:
    known = [value for value in values if value == value]
    return sum(known) / len(known) if known else 0.0


def _total(terms: dict[str, FloatColumn]) -> float:
    # The built-in sum would round otherwise than numpy does, since Python 3.12.
    total = 0.0
    for term in terms.values():
        total += term  # type: ignore[assignment] # numbers here
    return total
