"""How long a pod takes for a token, and how much longer for each sequence beside it: learned from its pages.

    seconds of a step without prompts = slowness of the pod * (base + per_request * sequences)

Between two polls an engine's histogram of times between tokens grows by `tokens` and `seconds`; so in the mean
`seconds / elapsed` sequences were decoding, and a step took `seconds / tokens`, prompts computed in between included:
their share of the time is taken off, and pages of much prefill teach nothing. Base and per_request are fitted by least
squares over all pods of a model, over its last thousands of tokens; how slow a pod is beside that, by its own lessons.
Engines that do not tell are known by Envoy's times per output token.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    from routing.pods.columns import IntColumn
    from routing.pods.queues import Queues
    from routing.pods.sudden_change import Speeds

# An 8B model on a card between A100 and H100, the middle of what is served; believed until the first page.
DEFAULT_BASE_SECONDS = 0.01
# What a sequence adds, beside the base: published steps of A10 to H100 with 8B to 70B say 1 to 6 %.
DEFAULT_SHARE = 0.03
# How much that weighs: two points, at no sequence and at 32, on whatever level the lessons have.
_PRIOR_TOKENS = 2000.0
_PRIOR_SEQUENCES = 16.0
"""In their middle."""
# Its lessons, of a hundred tokens or so: the last fifty make up 63 %.
_KEPT = 0.98
# Fewer tokens between two polls tell of chance.
FEWEST_TOKENS = 20.0
# What one page may change of a pod's slowness, once some have told of it: small, chance differences would otherwise
# draw a whole second's requests to one pod.
_WEIGHT = 0.03
_MAX_MODELS = 4096
"""Those that taught last."""
# From a card of the next decade to one that swaps.
_LEAST_SLOWNESS, _MOST_SLOWNESS = 0.02, 50.0
# What one line of Envoy's log counts as.
_LOGGED_TOKENS = 64.0
LOGGED_SECONDS = 0.1
"""Lines that come within it teach together, as what a page tells does: a log brings many at once."""


class StepLine(msgspec.Struct, gc=False):
    """Weighted sums of a model's lessons: x sequences, y seconds of a step."""

    w: float = 0.0
    x: float = 0.0
    xx: float = 0.0
    y: float = 0.0
    xy: float = 0.0
    fitted: tuple[float, float] | None = None
    """What `fit` said since the last lesson."""

    def add(self, tokens: float, sequences: float, seconds: float) -> None:
        """A step of so many sequences took so long, in the mean of so many tokens."""
        self.w = self.w * _KEPT + tokens
        self.x = self.x * _KEPT + tokens * sequences
        self.xx = self.xx * _KEPT + tokens * sequences * sequences
        self.y = self.y * _KEPT + tokens * seconds
        self.xy = self.xy * _KEPT + tokens * sequences * seconds
        self.fitted = None

    def fit(self) -> tuple[float, float]:
        """Base and slope; neither is below zero, whatever noise says."""
        if self.fitted is None:
            self.fitted = self._fit()
        return self.fitted

    def _fit(self) -> tuple[float, float]:
        level = self.y / (self.w + DEFAULT_SHARE * self.x) if self.w else DEFAULT_BASE_SECONDS
        prior, middle = _PRIOR_TOKENS, _PRIOR_SEQUENCES
        w = self.w + prior
        mean_x = (self.x + prior * middle) / w
        mean_y = (self.y + prior * level * (1.0 + DEFAULT_SHARE * middle)) / w
        xx = (self.xx + prior * 2.0 * middle * middle) / w
        xy = (self.xy + prior * level * (middle + DEFAULT_SHARE * 2.0 * middle * middle)) / w
        slope = min(max((xy - mean_x * mean_y) / (xx - mean_x * mean_x), 0.0), mean_y / mean_x)
        return mean_y - slope * mean_x, slope


class _Heard(msgspec.Struct, gc=False):
    """Lines of one row that have not taught yet, and when the next one does."""

    lines: int = 0
    seconds: float = 0.0
    sequences: float = 0.0
    next_at_seconds: float = -math.inf


class DecodePace:
    """What is known of the rows of some books."""

    def __init__(self, books: Queues, speeds: Speeds, rows_of_model: Callable[[int], IntColumn]) -> None:
        """`rows_of_model` are all rows of the model of a row."""
        self._books = books
        self._speeds = speeds
        self._rows_of_model = rows_of_model
        self._lines: dict[int, StepLine] = {}
        self._slowness: dict[int, float] = {}
        self._lessons: dict[int, int] = {}
        self._heard: dict[int, _Heard] = {}

    def reset(self, row: int) -> None:
        """Gives the row to a new pod."""
        self._lessons.pop(row, None)
        self._slowness.pop(row, None)
        self._heard.pop(row, None)

    def step_seconds(self, row: int, sequences: float) -> float:
        """Of a step that decodes so many, on this pod as it was learned."""
        base, slope = self._line(row).fit()
        return (base + slope * sequences) * self._slowness.get(row, 1.0)

    def lesson(self, row: int, tokens: float, sequences: float, step_seconds: float) -> None:
        """The pod took so long for a step of so many, in the mean of so many tokens."""
        self._learned(row, tokens, sequences, step_seconds)

    def _learned(self, row: int, tokens: float, sequences: float, step_seconds: float) -> StepLine:
        line = self._line(row)
        base, slope = line.fit()
        seen = min(max(step_seconds / (base + slope * sequences), _LEAST_SLOWNESS), _MOST_SLOWNESS)
        lessons = self._lessons.get(row, 0) + 1
        self._lessons[row] = lessons
        known = self._slowness.get(row, 1.0)
        self._slowness[row] = known = known + max(_WEIGHT, 1.0 / (lessons + 1)) * (seen - known)
        line.add(tokens, sequences, step_seconds / known)
        return line

    def logged(self, row: int, tpot_seconds: float) -> None:
        """Envoy saw a stream of a pod whose page does not tell times between tokens."""
        decoded = self._books.cells.decoded_tokens[row]
        if tpot_seconds > 0.0 and decoded != decoded:
            heard = self._heard.get(row)
            if heard is None:
                heard = self._heard[row] = _Heard()
            heard.lines += 1
            heard.seconds += tpot_seconds
            heard.sequences += max(1.0, self._books.requests_of(row))
            now = self._books.clock()
            if now >= heard.next_at_seconds:
                self._learn_of(row, heard)
                heard.next_at_seconds = now + LOGGED_SECONDS

    def _learn_of(self, row: int, heard: _Heard) -> None:
        lines, speed = heard.lines, self._speeds.of(row)
        step_seconds = heard.seconds / lines * speed
        line = self._learned(row, _LOGGED_TOKENS * lines, heard.sequences / lines, step_seconds)
        self._shown(row, line, speed)
        heard.lines, heard.seconds, heard.sequences = 0, 0.0, 0.0

    def changed(self, row: int, stays: float) -> None:
        """The row's speed has changed, and so much of it is not to pass."""
        if stays != 1.0:
            known = self._slowness.get(row, 1.0) / stays
            self._slowness[row] = min(max(known, _LEAST_SLOWNESS), _MOST_SLOWNESS)
        self.show(row)

    def show(self, row: int) -> None:
        """Writes the row's columns."""
        self._shown(row, self._line(row), self._speeds.of(row))

    def _shown(self, row: int, line: StepLine, speed: float) -> None:
        base, slope = line.fit()
        cells, times = self._books.cells, self._slowness.get(row, 1.0) / speed
        cells.decode_base_seconds[row], cells.decode_request_seconds[row] = base * times, slope * times

    def show_model(self, row: int) -> None:
        """Those of all pods of its model: one of which an older line is shown would look cheap for a second."""
        self._show(self._rows_of_model(row).tolist(), *self._line(row).fit())

    def _show(self, rows: list[int], base: float, slope: float) -> None:
        cells, slowness, speed_of = self._books.cells, self._slowness, self._speeds.of
        for row in rows:
            times = slowness.get(row, 1.0) / speed_of(row)
            cells.decode_base_seconds[row], cells.decode_request_seconds[row] = base * times, slope * times

    def _line(self, row: int) -> StepLine:
        model = self._books.cells.model_hash[row]
        line = self._lines.get(model)
        if line is None:
            if len(self._lines) >= _MAX_MODELS:
                self._lines.clear()
            line = self._lines[model] = StepLine()
        return line
