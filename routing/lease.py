"""A lease books one request on one pod's row, and is released exactly once, whatever ended the request.

It holds the row's own incarnation and not the pod's name or row alone: when the pod has gone and its row belongs to a
successor, the release must not touch the successor's books.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from routing.columns import Columns


class Lease:
    """One in-flight request on one incarnation of one pod."""

    __slots__ = ("_columns", "_incarnation", "_released", "row")

    def __init__(self, columns: Columns, row: int) -> None:
        self._columns = columns
        self._incarnation = int(columns.incarnation[row])
        self._released = False
        self.row = row
        columns.inflight_requests[row] += 1
        columns.requests_total[row] += 1

    def release(self) -> bool:
        """Takes the request off the pod's books; False when that was done before."""
        if self._released:
            return False
        self._released = True
        if self._columns.incarnation[self.row] == self._incarnation:
            self._columns.inflight_requests[self.row] -= 1
        return True

    def __repr__(self) -> str:
        state = "released" if self._released else "held"
        return f"<Lease row={self.row} incarnation={self._incarnation} {state}>"
