"""What is learned of a pod, in words for people, with the age of what taught it last."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from routing.pods.books import Books

_AS_EVER = 0.05
"""Of its speed; less is chance."""


def learned_figures(books: Books, row: int) -> dict[str, str]:
    """By subject; what nobody has told is "assumed"."""
    cells, now, rate = books.cells, books.clock(), books.rate_of(row)
    known = cells.prefill_tokens_per_second[row] == cells.prefill_tokens_per_second[row]
    first_token = _ago(now, cells.prefill_done_at_seconds[row] or None, "first token")
    page = _ago(now, cells.polled_at_seconds[row], "page")
    speed, base, each = books.speeds.of(row), cells.decode_base_seconds[row], cells.decode_request_seconds[row]
    backlog = books.backlog_of(row, now, rate)
    figures = {
        "prefill": f"{rate:,.0f} tokens/s ({first_token if known else 'assumed'})",
        "queue": f"{backlog:,.0f} tokens, {backlog / rate:.2f} s ({page})",
        "decoding": f"{base * 1e3:.1f} ms a token, {each * 1e3:.2f} ms more a request ({page})"
        if base == base
        else "assumed",
        "speed": "as ever" if abs(speed - 1.0) < _AS_EVER else f"{speed:.2f} of what it was ({page})",
    }
    if running := books.adapters.running(row):
        slots = cells.adapter_slots[row]
        figures["adapters"] = ", ".join(running) + (f" in {slots:.0f} slots" if slots == slots else "")
    return figures


def _ago(now: float, at_seconds: float | None, what: str) -> str:
    if at_seconds is None or at_seconds != at_seconds:
        return f"no {what} yet"
    return f"{what} {max(0.0, now - at_seconds):.1f} s ago"
