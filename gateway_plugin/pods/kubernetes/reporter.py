"""Complaints to those who read them: one log line and one Kubernetes Event each, not one for every status update."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING

from cachetools import TTLCache

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway_plugin.pods.kubernetes.complaints import Complaint, ComplaintReason

logger = logging.getLogger(__name__)

REMEMBERED = 10_000
"""Complaints, so that each is made once an hour."""
REPEAT_AFTER_SECONDS = 3600.0
"""As long as Kubernetes keeps Events: what still stands then is said again when anything changes."""


class Reporter:
    """`standing`: what is wrong now, by reason."""

    def __init__(self, post: Callable[[Complaint], None], clock: Callable[[], float]) -> None:
        self.standing: Counter[ComplaintReason] = Counter()
        self._post = post
        self._told: TTLCache[Complaint, None] = TTLCache(REMEMBERED, REPEAT_AFTER_SECONDS, timer=clock)

    def tell(self, complaints: Iterable[Complaint]) -> None:
        """Takes all that stand; tells those that are new."""
        standing = list(complaints)
        self.standing.clear()
        self.standing.update(complaint.reason for complaint in standing)
        for complaint in standing:
            if complaint not in self._told:
                self._told[complaint] = None
                logger.warning("%s", complaint)
                self._post(complaint)
