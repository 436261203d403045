"""What two pages of an engine say together: what a pod got done between them.

Prompts count when they are begun (cache queries less hits, so the computed part of them), tokens when they are there.

    work = begun prompt tokens / prefill rate + decoding steps * seconds of a step

A pod that had a queue at both polls, or decoded all the while, was at work all the while; then `work` beside the time
between the polls tells of its speed (`routing.pods.sudden_change`), and with a queue what it began is its prefill rate.
A pod that only decoded was at work as long as it decoded. In pages of little prefill the times between tokens are those
of decoding (`routing.pods.decode_pace`). At the end the backlog is moved to the nearest bound of what the page allows
(`routing.pods.engine_queue`): what is overdue now counts, though no first token has told of it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec

from routing.pods.decode_pace import FEWEST_TOKENS
from routing.pods.engine_queue import STEP_TOKENS

if TYPE_CHECKING:
    from routing.pods.decode_pace import DecodePace
    from routing.pods.engine_queue import WaitingLines
    from routing.pods.prefill_pace import PrefillPace
    from routing.pods.queues import Queues
    from routing.pods.sudden_change import Speeds

# Polls come every second or less; after a longer pause nobody knows that there was a queue all the while.
_LONGEST_SECONDS = 5.0
_AT_WORK_SHARE = 0.95
# Of a page with more prefill than this nobody can tell how long its decoding steps were.
_MOST_PREFILL_SHARE = 0.4
# A step that is shorter than this share of a chunk's time has no chunk in it.
_SHORT_STEP = 0.5
# Pages of a second see a step or two of a large card: the last five make up 67 %.
_STEP_WEIGHT = 0.2
# Twice the budget of vLLM's largest default; a page that says more counts wrong.
_MOST_STEP_TOKENS = 16_384.0
# By how much steps of one kind differ, and a page that comes late.
_JITTER_SECONDS = 0.1


class _Poll(msgspec.Struct, gc=False):
    at_seconds: float
    waiting: float
    begun_tokens: float
    unsure_tokens: float
    """Between the least and the most that can be left to compute."""
    grown_tokens: float = 0.0
    slot_seconds: float = 0.0
    """Between two ends that let a waiting request in; 0 where requests wait for others' prompts alone."""
    backlog_tokens: float = 0.0


class EnginePolls:
    """The last page of each row."""

    def __init__(
        self, books: Queues, lines: WaitingLines, speeds: Speeds, prefill: PrefillPace, decode: DecodePace
    ) -> None:
        self._books = books
        self._lines = lines
        self._speeds = speeds
        self._prefill = prefill
        self._decode = decode
        self._polls: dict[int, _Poll] = {}
        self._step_tokens: dict[int, float] = {}

    def reset(self, row: int) -> None:
        """Gives the row to a new pod."""
        self._polls.pop(row, None)
        self._step_tokens.pop(row, None)

    def polled(self, row: int, now: float) -> None:
        """The row's columns hold what a page said now."""
        cells = self._books.cells
        waiting, least, most = cells.waiting_requests[row], 0.0, math.inf
        if waiting == waiting:
            computing, mean_tokens = cells.running_requests[row] > 0.0, self._mean_tokens(row)
            least, most = self._lines.bounds(
                row,
                int(waiting),
                now,
                computing=computing,
                mean_tokens=mean_tokens,
                step_tokens=self._step_tokens.get(row, STEP_TOKENS),
            )
        begun = cells.prefix_query_tokens[row] - cells.prefix_hit_tokens[row]
        before, last = self._polls.get(row), _Poll(now, waiting, begun, most - least)
        self._polls[row] = last
        if before is not None and 0.0 < now - before.at_seconds <= _LONGEST_SECONDS:
            self._learn(row, before, last)
        if last.slot_seconds:
            least = max(least, (waiting + 1.0) * last.slot_seconds * self._books.rate_of(row))
            most = max(most, least)
        last.backlog_tokens = self._correct(row, least, most, now)

    def _learn(self, row: int, before: _Poll, last: _Poll) -> None:
        books, cells, seconds = self._books, self._books.cells, last.at_seconds - before.at_seconds
        last.grown_tokens = tokens = max(0.0, last.begun_tokens - before.begun_tokens)  # NaN stays behind
        decoded, decoding = cells.decoded_tokens[row], cells.decoding_seconds[row]
        if not decoded >= 0.0:  # NaN, too
            decoded = decoding = 0.0
        sequences, rate = max(1.0, decoding / seconds), books.rate_of(row) / self._speeds.of(row)
        work = tokens / rate + decoded / sequences * self._decode.step_seconds(row, sequences)
        queued = before.waiting >= 1.0 and last.waiting >= 1.0
        if queued or decoding >= _AT_WORK_SHARE * seconds:
            unsure_tokens = STEP_TOKENS + max(before.unsure_tokens, last.unsure_tokens)
            self._speeds.seen(row, work, seconds, unsure_tokens / rate)
        elif not tokens and not before.backlog_tokens:
            if decoded >= FEWEST_TOKENS:
                self._speeds.seen(row, work, decoding, _JITTER_SECONDS)
            elif not cells.running_requests[row] > 0.0 and not cells.inflight_requests[row]:
                self._speeds.idle(row, seconds)
        speed = self._speeds.of(row)
        last.slot_seconds = self._slot_seconds(row, tokens / rate / seconds, STEP_TOKENS / rate) if queued else 0.0
        if queued and not last.slot_seconds and last.begun_tokens == last.begun_tokens:
            self._prefill.lesson(row, tokens, seconds * speed)
            if decoded >= FEWEST_TOKENS:
                self._see_step(row, tokens * sequences / decoded)
        elif decoded >= FEWEST_TOKENS and max(tokens, before.grown_tokens) < _MOST_PREFILL_SHARE * seconds * rate:
            step_seconds = decoding / decoded * (1.0 - tokens / rate / seconds)
            self._decode.lesson(row, decoded, sequences, step_seconds * speed)
            self._decode.show_model(row)

    def _see_step(self, row: int, tokens: float) -> None:
        """The steps of a page with a queue were of so many prompt tokens in the mean, as full as they can be."""
        known = self._step_tokens.get(row, STEP_TOKENS)
        self._step_tokens[row] = known + _STEP_WEIGHT * (min(tokens, _MOST_STEP_TOKENS) - known)

    def _slot_seconds(self, row: int, prefill_share: float, chunk_seconds: float) -> float:
        """Between two ends of answers, where requests wait for a slot or for memory, and not for prompts; else 0.

        Then little prefill is begun though some wait, and steps are as short as those without prompts.
        """
        cells = self._books.cells
        decoded, running, inflight = (
            cells.decoded_tokens[row],
            cells.running_requests[row],
            cells.inflight_requests[row],
        )
        if not decoded >= FEWEST_TOKENS or not running >= 1.0 or not inflight or prefill_share >= _MOST_PREFILL_SHARE:
            return 0.0
        step_seconds = cells.decoding_seconds[row] / decoded
        if step_seconds >= _SHORT_STEP * chunk_seconds:
            return 0.0
        return cells.inflight_output_tokens[row] / inflight * step_seconds / running

    def _correct(self, row: int, least: float, most: float, now: float) -> float:
        """The backlog, within its bounds."""
        books = self._books
        backlog = books.backlog_of(row, now, books.rate_of(row))
        bounded = min(max(backlog, least), most)
        if bounded != backlog:
            books.cells.prefill_corrected_tokens[row] += bounded - backlog
            books.set_backlog(row, bounded, now)
        return bounded

    def _mean_tokens(self, row: int) -> float:
        cells = self._books.cells
        return max(0.0, cells.prefill_queued_tokens[row]) / max(1, cells.requests_total[row])
