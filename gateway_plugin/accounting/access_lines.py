"""One line for a finished exchange, and one for a refused one: who, for which model, where to, with what outcome.

Access lines are off unless the operator asks for them. Refusals are told in any case, at most so many a second: users
over their limits come in floods, and what is left out is counted in the next line.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Literal

from gateway_plugin.settings.log_lines import fields

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping

    from gateway_plugin.metrics.stories import Refused, Stories
    from protos.access_log import FinishedExchange

AccessLines = Literal["off", "errors", "sampled", "all"]

access = logging.getLogger("gateway_plugin.access")
refusals = logging.getLogger("gateway_plugin.refusals")

MAX_REFUSAL_LINES_PER_SECOND = 20
"""A flood of refusals must not become a flood of log."""


class LineWriter:
    """Writes what stories tell. `sampled` draws from all exchanges, and writes every failure."""

    def __init__(
        self,
        which: AccessLines = "off",
        sample_ratio: float = 0.01,
        draw: Callable[[], float] | random.Random = lambda: 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._which = which
        self._sample_ratio = sample_ratio
        self._draw = draw if callable(draw) else draw.random
        self._clock = clock
        self._second = -1
        self._written = 0
        self._left_out = 0

    def change(self, which: AccessLines, sample_ratio: float, stories: Stories) -> None:
        """From now on."""
        self._which, self._sample_ratio = which, sample_ratio
        self.listen(stories)

    def listen(self, stories: Stories) -> None:
        """From now on."""
        stories.on_refused = self.refused
        stories.on_finished = self.finished if self._which != "off" else None

    def finished(self, entry: FinishedExchange) -> None:
        """An exchange is over."""
        failed = entry.status >= 400 or not entry.status or entry.client_aborted
        if self._which == "errors" and not failed:
            return
        if self._which == "sampled" and not failed and self._draw() >= self._sample_ratio:
            return
        access.info("request", extra=fields(**access_fields(entry)))

    def refused(self, refused: Refused) -> None:
        """The gateway answered itself."""
        second = int(self._clock())
        if second != self._second:
            self._second, self._written = second, 0
        if self._written >= MAX_REFUSAL_LINES_PER_SECOND:
            self._left_out += 1
            return
        self._written += 1
        more = {"left_out_before": self._left_out} if self._left_out else {}
        self._left_out = 0
        refusals.info("refused", extra=fields(**refusal_fields(refused), **more))


def access_fields(entry: FinishedExchange) -> dict[str, object]:
    """What an access line says, in its order; what is not known is left out."""
    said: dict[str, object] = {
        "request_id": entry.request_id,
        "user": entry.user,
        "source": entry.source,
        "model": entry.model,
        "strategy": entry.strategy or "none",
        "pod": entry.pod_address,
        "attempts": entry.attempts,
        "status": 499 if entry.client_aborted else entry.status,
        "reason": reason_of(entry),
        "duration_ms": round(entry.duration_seconds * 1e3, 1),
        "ttft_ms": None if entry.ttft_seconds is None else round(entry.ttft_seconds * 1e3, 1),
        **counted(entry.tokens),
        "reserved_tokens": entry.reserved_tokens,
        "response_bytes": entry.response_bytes,
    }
    return {name: value for name, value in said.items() if value not in ("", None)}


def counted(tokens: Mapping[str, int]) -> dict[str, object]:
    """What the response said of its tokens, under our names."""
    return {name: tokens[name] for name in ("prompt_tokens", "completion_tokens", "cached_tokens") if name in tokens}


def reason_of(entry: FinishedExchange) -> str:
    """Why it ended as it did, in Envoy's words; empty for an answer of a pod that went well."""
    if entry.flags:
        return ",".join(sorted(entry.flags))
    return "" if entry.details in ("", "via_upstream") else entry.details


def refusal_fields(refused: Refused) -> dict[str, object]:
    """What the line of a refusal says. Messages may repeat what a client sent, so they stay out of logs."""
    said: dict[str, object] = {
        "request_id": refused.request_id,
        "user": refused.user,
        "source": refused.source,
        "model": refused.model,
        "path": refused.path,
        "status": refused.status,
        "reason": refused.reason,
    }
    return {name: value for name, value in said.items() if value != ""}
