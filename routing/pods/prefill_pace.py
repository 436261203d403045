"""How fast each pod computes prompts, and how much it has left: learned from first tokens, seconds after they happened.

Work is counted by its place in a pod's queue: `position` is all that was ever queued, up to and with a request. A first
token at time t says that the queue was done up to its request's position at t, exactly; so there are three lessons.

    rate     of (position - position before) / (t - t before), for a request that was booked while the one before it was
             still computed: the pod had work all the while. Else of its own work / TTFT.
    error    = backlog as estimated at the booking - rate * TTFT, corrected since by other first tokens: taken off now
    bounds   queued - position - rate * (now - t) <= backlog <= queued - position

    rate of a pod  = (W + sum of tokens^2) / (W / rate of its model's pods + sum of tokens * seconds),  W = 16,000 ^ 2

least squares through the origin, over a hundred requests or so: much work says much, and what is not work little; of
requests that met no other, what they waited for beside prompts is taken off first (`routing.pods.handover`). What a pod
has not shown itself it is believed to do as the others of its model: small, chance differences would otherwise keep
traffic, and with it better evidence, from pods that are as good as any. W shrinks with how unlike the pods turn out:

    W = 16,000 ^ 2 * 0.08 ^ 2 / (0.08 ^ 2 + beyond),  beyond = max(0, mean(ln(own / mean rate) ^ 2 - chance) - 0.5 ^ 2)

An engine's own rate counts until the first lesson. It measures requests, and of requests that are computed together
each counts the whole time, so that it depends on the load as much as on the pod.
"""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from routing.pods.columns import DEFAULT_PREFILL_TOKENS_PER_SECOND
from routing.pods.engine_queue import STEP_TOKENS
from routing.pods.handover import Handovers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from routing.pods.columns import FloatColumn, IntColumn
    from routing.pods.queues import Queues
    from routing.pods.sudden_change import Speeds

# What is believed before it is known weighs as one request of so many tokens: of a model's pods what their engines
# say, of one pod what the others have shown.
_PRIOR_TOKENS_SQUARED = 4000.0**2
_POOL_TOKENS_SQUARED = 16_000.0**2
# That suits pods which differ by 8 %, as equal cards do. Of cards of several generations, whose logarithms spread ten
# times as far, each is soon believed by its own lessons: the weight goes with the spread's square.
_LIKE_VARIANCE = 0.08**2
# Wrong guesses of what is cached let equal pods seem to differ by half.
_SEEMING_VARIANCE = 0.5**2
# A lesson of 2,500 tokens is wrong by half; of pods with less than two such lessons nobody knows how unlike they are.
_CHANCE_TOKENS_SQUARED = 0.25 * 2500.0**2
_TAUGHT_TOKENS_SQUARED = 2.0 * 2500.0**2
_FEWEST_UNLIKE = 2

# What one lesson may weigh: a chain of prompts that were told of late is one measurement, not as many as its prompts.
_MOST_TOKENS = 16_000.0
# Up to here, Python is faster than numpy.
_FEW_PODS = 16
# The last hundred requests make up 63 % of what is known.
_KEPT = 0.99


# A first token that comes so many times as early as expected tells that the rate was unknown.
_FASTER = 1.5


class Place(msgspec.Struct, frozen=True, gc=False):
    """Where a request stood in a pod's queue when it was booked."""

    at_seconds: float
    backlog_tokens: float
    """Estimated, its own work included."""
    position_tokens: float
    corrected_tokens: float
    """All corrections of the estimate until then."""
    done_at_seconds: float
    """When its work was expected to be computed."""


class PrefillPace:
    """What first tokens teach about the rows of some books."""

    def __init__(self, books: Queues, speeds: Speeds) -> None:
        self._books = books
        self._speeds = speeds
        self.handovers = Handovers()
        self._rows_by_model: dict[int, IntColumn] = {}

    def reset(self, row: int) -> None:
        """Gives the row to a new pod."""
        self.handovers.reset(row)

    def regrouped(self) -> None:
        """Which rows are of one model may have changed."""
        self._rows_by_model.clear()

    def told(self, row: int) -> None:
        """The engine said how fast it is; believed while nothing better is known, and of all pods of its model.

        Shown to one pod alone, the first word of any would draw a second's requests to it.
        """
        if not self._books.cells.pace_tokens_squared[row]:
            self._show(row)

    def first_token(self, row: int, place: Place, own_tokens: float, ttft_seconds: float) -> None:
        """The request at that place, with so many tokens to compute, had its first one so long after it was booked."""
        cells, at_seconds = self._books.cells, place.at_seconds + ttft_seconds
        done_tokens, done_at_seconds = cells.prefill_done_tokens[row], cells.prefill_done_at_seconds[row]
        if place.position_tokens <= done_tokens:
            return
        cells.prefill_done_tokens[row], cells.prefill_done_at_seconds[row] = place.position_tokens, at_seconds
        self._correct(row, place, ttft_seconds)
        tokens = place.position_tokens - done_tokens
        if place.at_seconds <= done_at_seconds:
            self._learn(row, tokens, (at_seconds - done_at_seconds) * self._speeds.of(row), tokens)
        else:
            seconds = self.handovers.computing(row, ttft_seconds)
            self._alone(row, _computed_tokens(place, tokens, own_tokens, seconds), ttft_seconds)

    def lesson(self, row: int, tokens: float, seconds: float) -> None:
        """Two pages say that the pod, which had work all the while, began so many tokens in so long, at speed 1.

        What lies between two beginnings is unsure by a prompt, so a lesson weighs as much as its time.
        """
        expected = self._books.rate_of(row) / self._speeds.of(row) * seconds
        self._learn(row, tokens, seconds, expected)

    def _alone(self, row: int, tokens: float, ttft_seconds: float) -> None:
        """A prompt that met no other took so long; it may have waited for a step under way."""
        books = self._books
        rate = books.rate_of(row) / self._speeds.of(row)
        seconds = self.handovers.computing(row, ttft_seconds)
        self.handovers.lesson(row, tokens, ttft_seconds, books.rate_of(row))
        self._speeds.seen(row, tokens / rate, seconds, STEP_TOKENS / rate)
        self._learn(row, tokens, seconds * self._speeds.of(row), tokens)

    def _correct(self, row: int, place: Place, ttft_seconds: float) -> None:
        books, cells, now = self._books, self._books.cells, self._books.clock()
        rate, computing_seconds = books.rate_of(row), self.handovers.computing(row, ttft_seconds)
        backlog = books.backlog_of(row, now, rate)
        most = max(0.0, cells.prefill_queued_tokens[row] - place.position_tokens)
        least = max(0.0, most - rate * (now - place.at_seconds - ttft_seconds))
        error = place.backlog_tokens - rate * computing_seconds
        since = cells.prefill_corrected_tokens[row] - place.corrected_tokens
        left = min(max(backlog - error - since, least), most)
        cells.prefill_corrected_tokens[row] += left - backlog
        books.set_backlog(row, left, now)

    def _learn(self, row: int, tokens: float, seconds: float, weight: float) -> None:
        if seconds <= 0.0:
            return
        cells = self._books.cells
        weight = min(weight, _MOST_TOKENS)
        cells.pace_tokens_squared[row] = cells.pace_tokens_squared[row] * _KEPT + weight * tokens
        cells.pace_token_seconds[row] = cells.pace_token_seconds[row] * _KEPT + weight * seconds
        self._show(row)

    def _show(self, row: int) -> None:
        """Writes the rates of all pods of the row's model."""
        columns = self._books.columns
        rows = self.rows_of_model(row)
        if len(rows) <= _FEW_PODS:
            self._learn_of_few(rows.tolist())
            return
        squares, products = columns.pace_tokens_squared[rows], columns.pace_token_seconds[rows]
        told = columns.engine_prefill_tokens_per_second[rows]
        speeds = np.array([self._speeds.of(each) for each in rows.tolist()])
        columns.prefill_tokens_per_second[rows] = rates(squares, products, told) * speeds

    def _learn_of_few(self, rows: Sequence[int]) -> None:
        cells, speed_of = self._books.cells, self._speeds.of
        told, shown = cells.engine_prefill_tokens_per_second, cells.prefill_tokens_per_second
        learned = rates_of_few(rows, cells.pace_tokens_squared, cells.pace_token_seconds, told)
        for row, rate in zip(rows, learned, strict=True):
            shown[row] = rate * speed_of(row)

    def rows_of_model(self, row: int) -> IntColumn:
        """All rows of the model of this one."""
        columns = self._books.columns
        model_hash = self._books.cells.model_hash[row]
        rows = self._rows_by_model.get(model_hash)
        if rows is None:
            self._rows_by_model[model_hash] = rows = np.flatnonzero(columns.model_hash == columns.model_hash[row])
        return rows


def _computed_tokens(place: Place, most_tokens: float, own_tokens: float, ttft_seconds: float) -> float:
    """What a pod computed before a first token, whose request was booked when the pod had perhaps nothing to do.

    The queue at the booking was estimated at the rate that was believed then. One that went much faster was shorter:
    what was before the request may have been computed long ago, and only its own work is sure.
    """
    queued = min(most_tokens, place.backlog_tokens)
    expected_seconds = (place.done_at_seconds - place.at_seconds) * queued / max(place.backlog_tokens, 1.0)
    return queued if ttft_seconds * _FASTER > expected_seconds else own_tokens


def rates(squares: FloatColumn, products: FloatColumn, told: FloatColumn) -> FloatColumn:
    """Of pods of one model, by the sums of each one's lessons; `told` by the engines, NaN where they do not tell."""
    known = told[~np.isnan(told)]
    prior_rate = float(known.mean()) if len(known) else DEFAULT_PREFILL_TOKENS_PER_SECOND
    prior_seconds = _PRIOR_TOKENS_SQUARED / prior_rate
    pool_rate = (_PRIOR_TOKENS_SQUARED + squares.sum()) / (prior_seconds + products.sum())
    taught = (squares >= _TAUGHT_TOKENS_SQUARED) & (products > 0.0)
    own = squares[taught]
    pool = _pool_weight((np.log(own) - np.log(products[taught]) - log(pool_rate)) ** 2 - _CHANCE_TOKENS_SQUARED / own)
    learned: FloatColumn = (pool + squares) / (pool / pool_rate + products)
    return learned


def rates_of_few(
    rows: Sequence[int], squares: Sequence[float], products: Sequence[float], told: Sequence[float]
) -> list[float]:
    """`rates` of these rows of columns, without numpy, which takes as long for one pod as for a hundred."""
    square_sum = product_sum = told_sum = 0.0
    telling = 0
    for row in rows:
        square_sum += squares[row]
        product_sum += products[row]
        if (rate := told[row]) == rate:
            told_sum += rate
            telling += 1
    prior_rate = told_sum / telling if telling else DEFAULT_PREFILL_TOKENS_PER_SECOND
    pool_rate = (_PRIOR_TOKENS_SQUARED + square_sum) / (_PRIOR_TOKENS_SQUARED / prior_rate + product_sum)
    pool_log = log(pool_rate)
    pool = _pool_weight(
        [
            (log(square) - log(products[row]) - pool_log) ** 2 - _CHANCE_TOKENS_SQUARED / square
            for row in rows
            if (square := squares[row]) >= _TAUGHT_TOKENS_SQUARED and products[row] > 0.0
        ]
    )
    pool_seconds = pool / pool_rate
    return [(pool + squares[row]) / (pool_seconds + products[row]) for row in rows]


def _pool_weight(variances: Sequence[float] | FloatColumn) -> float:
    """What the others' word weighs, by how unlike the pods are beyond chance: of each, the logarithm's square."""
    if len(variances) < _FEWEST_UNLIKE:
        return _POOL_TOKENS_SQUARED
    beyond = max(0.0, sum(variances) / len(variances) - _SEEMING_VARIANCE)
    return _POOL_TOKENS_SQUARED * _LIKE_VARIANCE / (_LIKE_VARIANCE + beyond)
