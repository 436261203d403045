"""What a flow showed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.real_kubernetes.traffic import Outcome


@dataclass(slots=True)
class Result:
    """What a flow showed."""

    name: str
    requests: int = 0
    failed: int = 0
    recovery_seconds: float | None = None
    api_calls: int | None = None
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def took(self, outcome: Outcome, *, may_fail: int = 0) -> None:
        """Adds what became of requests."""
        self.requests += outcome.total
        self.failed += outcome.failed
        self.expect(
            outcome.failed <= may_fail, f"{outcome.failed} requests failed: {dict(outcome.statuses)} {outcome.samples}"
        )

    def expect(self, holds: object, what: str) -> None:
        """Notes what does not hold, and goes on."""
        if not holds:
            self.errors.append(what)

    def cells(self) -> list[str]:
        """Of the table."""
        recovery = "" if self.recovery_seconds is None else f"{self.recovery_seconds:.1f}"
        calls = "" if self.api_calls is None else str(self.api_calls)
        told = "; ".join([*self.notes, *self.errors])
        figures = [str(self.requests), str(self.failed), recovery, calls, f"{self.seconds:.0f}"]
        return [self.name, "NO" if self.errors else "yes", *figures, told]

    def line(self) -> str:
        """One line."""
        return " | ".join(self.cells())
