"""What a policy sees: the candidates of one request, as plain lists of one moment.

Item i of every list is the pod of `rows[i]`; rows are in stable order. numpy takes about as long for one pod as for a
hundred, and ten times as long as Python does for one; of many pods a few dozen are read (see `routing.shortlist`).
Polled numbers are corrected by what was booked since the poll, or a whole interval's arrivals would go to the pod that
looked idle at its beginning; those older than `stale_after_seconds` read as NaN: unknown, never idle.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import TYPE_CHECKING

from routing.pods.columns import DEFAULT_PREFILL_TOKENS_PER_SECOND
from routing.pods.pod_view import DEFAULT_KV_CAPACITY_TOKENS, PodView
from routing.prefix.prefix_blocks import Matched
from routing.prefix.rendezvous import draws_of_few

if TYPE_CHECKING:
    from collections.abc import Sequence

    from routing.pods.books import Books
    from routing.pods.columns import IntColumn


class Candidates:
    """The pods of these rows, at the moment in which this is made."""

    __slots__ = (
        "_books",
        "_cells",
        "_column",
        "_inflight_requests",
        "_now_seconds",
        "_oldest_seconds",
        "_stale_after_seconds",
        "_view",
        "best_match_tokens",
        "holders",
        "matched_tokens",
        "rows",
    )

    def __init__(
        self, books: Books, rows: IntColumn, stale_after_seconds: float, matched: Matched | None = None
    ) -> None:
        """`matched`: prompt tokens that each pod is believed to have cached; None: nobody asked, so none."""
        self._books = books
        self._cells = books.cells
        self._column = rows
        self._view: PodView | None = None
        self._now_seconds = now_seconds = books.clock()
        self._stale_after_seconds = stale_after_seconds
        self._oldest_seconds = now_seconds - stale_after_seconds
        self._inflight_requests: list[float] | None = None
        self.rows: list[int] = rows.tolist()
        self.matched_tokens = [0.0] * len(self.rows) if matched is None else matched.tokens
        self.best_match_tokens = 0.0 if matched is None else matched.best_tokens
        """The longest match of any pod."""
        self.holders = 1 if matched is None else matched.holders
        """How many pods hold the longest match; 1 when nobody holds anything."""

    @classmethod
    def of(cls, view: PodView) -> Candidates:
        """The pods of a view, which may be a few of many."""
        matched = Matched(view.matched_tokens.tolist(), view.best_match_tokens, view.holders)
        pods = cls(view.books, view.rows, view.stale_after_seconds, matched)
        pods._view = view
        return pods

    @property
    def view(self) -> PodView:
        """The same pods as columns."""
        view = self._view
        if view is None:
            self._view = view = PodView(self._books, self._column, self._stale_after_seconds)
        return view

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def nothing(self) -> list[float]:
        """Zeros."""
        return [0.0] * len(self.rows)

    @property
    def place(self) -> list[float]:
        """0 for the first pod of all, 1 for the last."""
        places: list[float] = self.view.place.tolist()
        return places

    @property
    def inflight_requests(self) -> list[float]:
        """Requests that the gateway has open on each pod, all its replicas, by what they probably do now."""
        counts = self._inflight_requests
        if counts is None:
            self._inflight_requests = counts = self._count_inflight()
        return counts

    @property
    def fewest_inflight_requests(self) -> float:
        """Of any pod."""
        return min(self.inflight_requests)

    @property
    def inflight_prompt_tokens(self) -> list[float]:
        """Prompt tokens of the open requests."""
        cells = self._cells
        return self._with_elsewhere(cells.inflight_prompt_tokens, cells.inflight_prompt_tokens_elsewhere)

    @property
    def inflight_output_tokens(self) -> list[float]:
        """Output tokens expected of the open requests."""
        cells = self._cells
        return self._with_elsewhere(cells.inflight_output_tokens, cells.inflight_output_tokens_elsewhere)

    @property
    def prefill_tokens_per_second(self) -> list[float]:
        """Speed of prefill, measured or assumed."""
        rates = self._cells.prefill_tokens_per_second
        return [rate if (rate := rates[row]) > 0.0 else DEFAULT_PREFILL_TOKENS_PER_SECOND for row in self.rows]

    @property
    def prefill_is_measured(self) -> list[bool]:
        """Whether first tokens or the engine's own metrics tell the speed of prefill."""
        return [not math.isnan(rate) for rate in self._read(self._cells.prefill_tokens_per_second)]

    def backlog_tokens(self, rates: Sequence[float]) -> list[float]:
        """Prompt tokens that each pod still has to compute, at these tokens per second."""
        now, left, at = self._now_seconds, self._cells.prefill_backlog_tokens, self._cells.prefill_backlog_at_seconds
        return [
            tokens if (tokens := left[row] - (now - at[row]) * rate) > 0.0 else 0.0
            for row, rate in zip(self.rows, rates, strict=True)
        ]

    def mean_backlog_tokens(self, of_these: Sequence[float]) -> float:
        """Prefill work of one pod in the mean of all that the request could go to; `of_these` is that of each here."""
        view = self._view
        if view is None or view.whole is view:
            return sum(of_these) / len(of_these)
        return view.whole.mean_backlog_tokens

    def cold_preferences(self, prefix: Sequence[int], prefix_tokens: Sequence[float]) -> list[float]:
        """0 to 1 per pod, by the first block of the prompt that no pod holds; zeros when there is none."""
        block = first_unknown(prefix, prefix_tokens, self.best_match_tokens)
        return self.nothing if block is None else [1.0 - draw for draw in draws_of_few(self.address_hash, block)]

    def works(self) -> list[tuple[float, float, float, float, float, float]]:
        """Of each pod at once: prefill rate and backlog, requests in flight, seconds that each of them adds to a token
        (NaN where unknown), KV usage (0 where unknown), and the tokens that the KV cache holds.

        One loop over the rows takes half of the time of five lists.
        """
        cells, now, oldest = self._cells, self._now_seconds, self._oldest_seconds
        rates, left, left_at = (
            cells.prefill_tokens_per_second,
            cells.prefill_backlog_tokens,
            cells.prefill_backlog_at_seconds,
        )
        each_seconds, polled_at = cells.decode_request_seconds, cells.polled_at_seconds
        kv_ratios, booked, capacities = cells.kv_usage_ratio, cells.booked_tokens_since_poll, cells.kv_capacity_tokens
        works = []
        for row, requests in zip(self.rows, self.inflight_requests, strict=True):
            if not (rate := rates[row]) > 0.0:  # NaN, too
                rate = DEFAULT_PREFILL_TOKENS_PER_SECOND
            if (backlog := left[row] - (now - left_at[row]) * rate) < 0.0:
                backlog = 0.0
            if not (capacity := capacities[row]) > 0.0:
                capacity = DEFAULT_KV_CAPACITY_TOKENS
            kv_ratio = 0.0
            if polled_at[row] >= oldest and (polled := kv_ratios[row]) == polled:
                kv_ratio = polled + booked[row] / capacity
            works.append((rate, backlog, requests, each_seconds[row], kv_ratio, capacity))
        return works

    def adapter_seconds(self, model: str, output_tokens: float) -> list[float]:
        """What each pod makes a request for this model wait, where that is an adapter (`AdaptersInUse`)."""
        books, cells = self._books, self._cells
        if model not in books.adapters.known:
            return self.nothing
        slots, wait, step_seconds = cells.adapter_slots, books.adapters.wait_seconds, books.decode.step_seconds
        return [
            wait(row, model, slots[row], output_tokens * step_seconds(row, requests))
            for row, requests in zip(self.rows, self.inflight_requests, strict=True)
        ]

    @property
    def busy_ratio(self) -> list[float]:
        """Share of the last minute with work, 0 to 1."""
        ratios: list[float] = self.view.busy_ratio.tolist()
        return ratios

    @property
    def window_prompt_tokens(self) -> list[float]:
        """Prompt tokens of requests that ended in the last minute."""
        tokens: list[float] = self.view.window_prompt_tokens.tolist()
        return tokens

    @property
    def window_output_tokens(self) -> list[float]:
        """Output tokens of requests that ended in the last minute."""
        tokens: list[float] = self.view.window_output_tokens.tolist()
        return tokens

    @property
    def engine_requests(self) -> list[float]:
        """Requests in the engine, running or waiting: the last poll, and what was booked since."""
        cells, books = self._cells, self._books
        waiting = [number if number == number else 0.0 for number in self._read(cells.waiting_requests)]
        running, booked = self._fresh(cells.running_requests), self._read(cells.booked_requests_since_poll)
        known = [sum(numbers) for numbers in zip(running, waiting, booked, strict=True)]
        if not books.has_elsewhere:
            return known
        return [number + books.mirror.requests_of(row) for number, row in zip(known, self.rows, strict=True)]

    @property
    def waiting_requests(self) -> list[float]:
        """Requests in the engine's queue at the last poll."""
        return self._fresh(self._cells.waiting_requests)

    @property
    def kv_usage_ratio(self) -> list[float]:
        """Share of the KV cache in use: the last poll, and what was booked since; may exceed 1."""
        cells, oldest, default = self._cells, self._oldest_seconds, DEFAULT_KV_CAPACITY_TOKENS
        ratios, polled_at = cells.kv_usage_ratio, cells.polled_at_seconds
        booked, capacities = cells.booked_tokens_since_poll, cells.kv_capacity_tokens
        return [
            ratios[row] + booked[row] / (tokens if (tokens := capacities[row]) > 0.0 else default)
            if polled_at[row] >= oldest
            else math.nan
            for row in self.rows
        ]

    def step_seconds(self, base: float, per_request: float) -> list[float]:
        """Of decoding one token on each pod beside its open requests; by these seconds where nothing is known of it."""
        bases, each = self._cells.decode_base_seconds, self._cells.decode_request_seconds
        return [
            bases[row] + each[row] * requests if each[row] == each[row] else base + per_request * requests
            for row, requests in zip(self.rows, self.inflight_requests, strict=True)
        ]

    @property
    def ttft_seconds(self) -> list[float]:
        """Mean time to first token: seen by Envoy, else said by the engine, else NaN."""
        return self._measured(self._cells.ttft_seconds, self._cells.engine_ttft_seconds)

    @property
    def tpot_seconds(self) -> list[float]:
        """Mean time per output token: seen by Envoy, else said by the engine, else NaN."""
        return self._measured(self._cells.tpot_seconds, self._cells.engine_tpot_seconds)

    @property
    def address_hash(self) -> list[int]:
        """A hash of each pod's address, the same on every replica."""
        hashes = self._cells.address_hash
        return [hashes[row] for row in self.rows]

    def _count_inflight(self) -> list[float]:
        if self._books.has_elsewhere:
            mirror = self._books.mirror
            return [self._books.requests_of(row) + mirror.requests_of(row) for row in self.rows]
        return self._read(self._cells.inflight_requests)

    def _read(self, cells: memoryview[int] | memoryview[float]) -> list[float]:
        return [cells[row] for row in self.rows]

    def _fresh(self, cells: memoryview[float]) -> list[float]:
        """What was polled; NaN where that is too long ago."""
        oldest, polled_at = self._oldest_seconds, self._cells.polled_at_seconds
        return [cells[row] if polled_at[row] >= oldest else math.nan for row in self.rows]

    def _measured(self, seen: memoryview[float], said: memoryview[float]) -> list[float]:
        """What Envoy saw, else what the engine says."""
        return [value if (value := seen[row]) == value else said[row] for row in self.rows]

    def _with_elsewhere(self, own: memoryview[float], elsewhere: memoryview[float]) -> list[float]:
        if not self._books.has_elsewhere:
            return self._read(own)
        return [own[row] + elsewhere[row] for row in self.rows]


def first_unknown(prefix: Sequence[int], prefix_tokens: Sequence[float], best_match_tokens: float) -> int | None:
    """The first block of the prompt behind the longest match."""
    known = bisect_right(prefix_tokens, best_match_tokens)
    return prefix[known] if known < len(prefix) else None


def mean_known(values: list[float]) -> float:
    """0 when none is known."""
    mean = sum(values) / len(values)
    if mean == mean:
        return mean
    known = [value for value in values if value == value]
    return sum(known) / len(known) if known else 0.0
