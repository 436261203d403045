"""What replicas of this gateway that share tell each other: work every 0.2 s, read 0.1 s later, and prompts."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from benchmarks.routing.gateway import MODEL
from routing.pods.elsewhere import Report
from routing.pods.pod_work import own_work

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.routing.agenda import Agenda
    from benchmarks.routing.gateway import OwnGateway
    from routing.prefix.prefix_blocks import PrefixKeys
    from routing.spec import PodSpec

TELL_SECONDS = 0.2
READ_SECONDS = 0.1


class Talk:
    """Between these replicas; none is silence."""

    def __init__(self, replicas: Sequence[OwnGateway], agenda: Agenda) -> None:
        self._replicas = replicas
        self._agenda = agenda
        self._sequence = 0
        self._goes_on: Callable[[], bool] = lambda: False
        for replica in replicas:
            replica.router.on_prefix = partial(self._tell_prefix, replica)

    def begin(self, goes_on: Callable[[], bool]) -> None:
        """Goes on for as long as it is asked to."""
        self._goes_on = goes_on
        if not self._replicas:
            return
        for number in range(len(self._replicas)):
            self._agenda.at(TELL_SECONDS * number / len(self._replicas), partial(self._tell, number))
        self._agenda.at(0.0, self._turn)

    def _tell_prefix(self, teller: OwnGateway, pod: PodSpec, keys: PrefixKeys) -> None:
        def hear() -> None:
            for replica in self._replicas:
                row = replica.table.row_of(pod.address)
                if replica is not teller and row is not None:
                    replica.router.prefixes.insert(row, keys)

        self._agenda.at(self._agenda.now_seconds + (TELL_SECONDS + READ_SECONDS) / 2, hear)

    def _tell(self, number: int) -> None:
        if not self._goes_on():
            return
        self._sequence += 1
        report = Report(self._sequence, own_work(self._replicas[number].table).get(MODEL, ()))
        self._agenda.at(self._agenda.now_seconds + READ_SECONDS, partial(self._hear, number, report))
        self._agenda.at(self._agenda.now_seconds + TELL_SECONDS, partial(self._tell, number))

    def _hear(self, teller: int, report: Report) -> None:
        for number, replica in enumerate(self._replicas):
            if number != teller:
                replica.elsewhere.hear(MODEL, str(teller), report)
                replica.elsewhere.update()

    def _turn(self) -> None:
        for replica in self._replicas:
            replica.elsewhere.update()
        if self._goes_on():
            self._agenda.at(self._agenda.now_seconds + READ_SECONDS, self._turn)
