"""The part of the books that lessons read and set right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from routing.pods.cells import Cells
    from routing.pods.columns import Columns


class Queues(Protocol):
    """Prefill queues and prefill rates by row."""

    clock: Callable[[], float]
    columns: Columns
    cells: Cells

    def rate_of(self, row: int) -> float: ...

    def backlog_of(self, row: int, now: float, rate: float) -> float: ...

    def set_backlog(self, row: int, tokens: float, now: float) -> None: ...

    def set_rate(self, row: int, tokens_per_second: float) -> None: ...

    def requests_of(self, row: int) -> float: ...
