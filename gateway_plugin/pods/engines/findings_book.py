"""The findings of all pods as of now: told once in the log when they come, and when they are mended."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from prometheus_client.core import Metric

    from gateway_plugin.pods.engines.engine_checks import EngineFinding

logger = logging.getLogger(__name__)

CODES = ("NotServed", "KeyWanted", "OtherPath", "SpeaksTls", "BadAnswer", "NoAnswer", "NotAnEngine", "OtherEngine")


class FindingsBook:
    """By pod address and part; bounded by the pods, which `keep` names."""

    def __init__(self) -> None:
        self._found: dict[str, dict[str, EngineFinding]] = {}

    def put(self, address: str, part: str, finding: EngineFinding | None) -> None:
        """What one part of the pod shows now; None: all is well."""
        parts = self._found.setdefault(address, {})
        before = parts.get(part)
        if finding is None:
            if before is not None:
                del parts[part]
                logger.info("pod %s: mended: %s", before.about, before.message)
        elif before is None or (before.code, before.message) != (finding.code, finding.message):
            logger.warning("%s", finding)
            parts[part] = finding

    def keep(self, addresses: Collection[str]) -> None:
        """Forgets all other pods."""
        for address in [address for address in self._found if address not in addresses]:
            del self._found[address]

    def all(self) -> list[EngineFinding]:
        """As of now, by pod."""
        found: Iterable[EngineFinding] = (one for parts in self._found.values() for one in parts.values())
        return sorted(found, key=lambda one: (one.about, one.code))


class FindingsCollector(Collector):
    """How many pods contradict what was configured, by code."""

    def __init__(self, book: FindingsBook) -> None:
        self._book = book

    def collect(self) -> Iterator[Metric]:
        """As of now; each code is there from the start."""
        gauge = GaugeMetricFamily(
            "gateway_engine_findings",
            "Pods whose engine contradicts the configuration, by what is wrong; the log and /debug/live say the mend.",
            labels=["code"],
        )
        codes = [one.code for one in self._book.all()]
        for code in CODES:
            gauge.add_metric([code], codes.count(code))
        yield gauge
