"""What other replicas of the gateway have under way on the pods, as each of them said last.

    in flight = own + sum over the reports heard of in the last 1.3 s

A report counts from when it was heard here, and its number must have grown since the last: clocks of two machines are
never compared, and a replica that was killed is forgotten. Reports name pods by address and uid; they are written into
the pod table's columns at every `update`, and go with the row when the pod goes.

What a replica has booked since its last report is treated like a booking of one's own, 0.2 s ago: it joins the one
queue of prefill work that each pod has, and corrects the engine's polled numbers until the next poll. Of a poll that is
younger than the booking it may repeat what the poll has already seen: at most 0.3 s of bookings, where leaving it out
would miss all that others have booked since the poll. Of a replica that was not heard before, no more is taken over
than it believes is still to be done.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from routing.pods.pod_work import uid_hash

if TYPE_CHECKING:
    from routing.pods.pod_table import PodTable
    from routing.pods.pod_work import PodWork

LIFETIME_SECONDS = 1.3
"""Writers repeat themselves every 0.4 s: two of these may be late. A killed one has to be forgotten within 2 s."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a replica says of the pods of one model; those that it leaves out have nothing of its work."""

    sequence: int
    """Grows with each report of the replica, whatever the model."""
    pods: tuple[PodWork, ...]


@dataclass(frozen=True, slots=True)
class _Heard:
    report: Report
    at_seconds: float


class Elsewhere:
    """The reports of all other replicas over one pod table."""

    def __init__(self, pods: PodTable) -> None:
        self._pods = pods
        self._clock = pods.books.clock
        self._heard: dict[tuple[str, str], _Heard] = {}
        self._changed = False
        self._newest_incarnation = 0

    def hear(self, model: str, replica: str, report: Report) -> bool:
        """Takes a report; False for one that is no newer than the last."""
        known = self._heard.get((model, replica))
        if known is not None and report.sequence <= known.report.sequence:
            return False
        self._heard[model, replica] = _Heard(report, self._clock())
        if known is None or known.report.pods != report.pods:
            self._changed = True
            self._take_over(known.report.pods if known else (), report.pods)
        return True

    def forget(self, model: str, replica: str) -> None:
        """The replica has nothing under way on the model's pods any more."""
        self._changed |= self._heard.pop((model, replica), None) is not None

    def update(self) -> None:
        """Drops what is too old, and writes the sums into the pod table."""
        now = self._clock()
        for key in [key for key, heard in self._heard.items() if now - heard.at_seconds > LIFETIME_SECONDS]:
            self.forget(*key)
        newest_incarnation = int(self._pods.columns.incarnation.max())
        if self._changed or newest_incarnation != self._newest_incarnation:
            self._changed, self._newest_incarnation = False, newest_incarnation
            self._pods.books.set_elsewhere(*self._sums())
            self._pods.books.has_elsewhere = bool(self._heard)
        self._pods.books.mirror.turn(self._clock(), self._times_own())

    @property
    def replicas(self) -> int:
        """Other replicas that have work under way."""
        return len({replica for _, replica in self._heard})

    @property
    def inflight_requests(self) -> int:
        """Their requests in flight, on pods known here or not."""
        return sum(work.inflight_requests for work in self._latest())

    @property
    def age_seconds(self) -> float:
        """Of the oldest report in use; 0 when there is none."""
        return self._clock() - min((heard.at_seconds for heard in self._heard.values()), default=self._clock())

    def __repr__(self) -> str:
        return f"<Elsewhere {self.replicas} replicas, {self.inflight_requests} in flight>"

    def _times_own(self) -> float:
        """Others' traffic as a multiple of the own, by what is in flight; at most one share for each of them."""
        if not self._heard:
            return 0.0
        own = int(self._pods.columns.inflight_requests.sum())
        others = float(self._pods.columns.inflight_requests_elsewhere.sum())
        return min(others / max(own, 1), float(self.replicas))

    def _latest(self) -> list[PodWork]:
        """Each replica's last word on each pod: for a moment it may stand under two models, when its models change."""
        latest: dict[tuple[str, str], tuple[int, PodWork]] = {}
        for (_, replica), heard in self._heard.items():
            for work in heard.report.pods:
                key = (replica, work.address)
                if key not in latest or latest[key][0] < heard.report.sequence:
                    latest[key] = (heard.report.sequence, work)
        return [work for _, work in latest.values()]

    def _sums(self) -> tuple[list[int], list[tuple[float, float, float]]]:
        """Rows, each as often as replicas have work there, and requests, prompt and output tokens."""
        found = [(row, work) for work in self._latest() if (row := self._row(work)) is not None]
        return [row for row, _ in found], [
            (work.inflight_requests, work.inflight_prompt_tokens, work.inflight_output_tokens) for _, work in found
        ]

    def _take_over(self, before: tuple[PodWork, ...], now: tuple[PodWork, ...]) -> None:
        earlier = {(work.address, work.uid_hash): work for work in before}
        for work in now:
            last = earlier.get((work.address, work.uid_hash))
            if last != work and (row := self._row(work)) is not None:
                self._pods.books.booked_elsewhere(row, *_booked(last, work))

    def _row(self, work: PodWork) -> int | None:
        row = self._pods.row_of(work.address)
        return row if row is not None and uid_hash(self._pods.spec(row)) == work.uid_hash else None


def _booked(before: PodWork | None, now: PodWork) -> tuple[int, float]:
    """Requests since the report before, if still in flight, and prefill tokens; below zero when more was taken back."""
    if before is None or now.requests_total < before.requests_total:
        return now.inflight_requests, min(max(now.prefill_booked_tokens, 0.0), now.prefill_backlog_tokens)
    requests = min(now.requests_total - before.requests_total, now.inflight_requests)
    tokens = now.prefill_booked_tokens - before.prefill_booked_tokens
    if tokens < 0:
        return requests, max(tokens, -before.inflight_prompt_tokens)
    return requests, tokens
