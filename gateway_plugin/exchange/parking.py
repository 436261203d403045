"""Exchanges that wait for the access log instead of holding a gRPC stream open (`release: access_log`).

The plugin ends the stream with its reply, and the pod stays booked until Envoy's log says that the exchange is over:
up to the log's flush interval too long. An entry that never comes costs the pod a booked request for an hour.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway_plugin.exchange.exchange import Exchange
    from gateway_plugin.exchange.steps import Ending

MAX_PARKED = 100_000
"""Exchanges that wait for their log entry."""
MAX_PARKED_SECONDS = 3600.0
"""Envoy ends a stream that says nothing for an hour."""


class Parking:
    """By charge id, oldest first; bounded in number and age."""

    def __init__(self, clock: Callable[[], float], on_end: Callable[[Ending], None]) -> None:
        self._clock = clock
        self._on_end = on_end
        self.exchanges: OrderedDict[str, tuple[float, Exchange]] = OrderedDict()
        """By charge id, with the time since when they wait; others read its length."""

    def park(self, exchange: Exchange) -> None:
        """Keeps the exchange until it is released or too old."""
        now = self._clock()
        self.exchanges[exchange.charge_id] = now, exchange
        while len(self.exchanges) > MAX_PARKED or self._oldest_seconds() < now - MAX_PARKED_SECONDS:
            self._end(self.exchanges.popitem(last=False)[1][1])

    def release(self, charge_id: str) -> None:
        """The access log says that the exchange is over; unknown ids are another replica's."""
        found = self.exchanges.pop(charge_id, None)
        if found is not None:
            self._end(found[1])

    def _end(self, exchange: Exchange) -> None:
        self._on_end(exchange.end())

    def _oldest_seconds(self) -> float:
        return next(iter(self.exchanges.values()))[0]
