"""One request as the client saw it."""

from __future__ import annotations

from dataclasses import dataclass

TIMEOUT = "timeout"
UNFINISHED = "unfinished"


@dataclass(slots=True)
class Sample:
    """Times in seconds. `at` is when it was due, after the start of the run; all others count from when it was sent."""

    at_seconds: float
    user: str = ""
    late_seconds: float = 0.0
    """Sent so much after it was due."""
    status: int = 0
    trouble: str = UNFINISHED
    """Empty: answered in whole. Else the kind of failure: `timeout`, `429`, `connection lost` ..."""
    message: str = ""
    first_seconds: float | None = None
    """To the first content; None without a stream, and when none came."""
    last_seconds: float | None = None
    """To the last content."""
    total_seconds: float = 0.0
    """To the end, or until it was given up."""
    prompt_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int | None = None
    from_usage: bool = False
    """Else tokens are events of the stream."""
    pod: str = ""
    strategy: str = ""
    """Pod and strategy as the gateway's answer names them."""

    @property
    def ok(self) -> bool:
        """Answered in whole."""
        return not self.trouble

    @property
    def tpot_seconds(self) -> float | None:
        """Mean time per output token after the first; None when there is no second."""
        if self.first_seconds is None or self.last_seconds is None or self.output_tokens < 2:
            return None
        return (self.last_seconds - self.first_seconds) / (self.output_tokens - 1)
