"""The loop: look at the whole state, decide, act, until nothing is left to do.

Level-triggered: it is woken by any change, and asks not what changed but what should be. Changes that come together
make one round. Every so often, and before anything is taken away, the state is read anew by complete lists.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from gateway_plugin.controller.announcing import RouteAnnouncer
from gateway_plugin.controller.change_plan import Delete, is_removal, plan
from gateway_plugin.controller.checks import check
from gateway_plugin.controller.contests import Contests, contested
from gateway_plugin.controller.desired import RouteRules, desired
from gateway_plugin.controller.executor import Executor
from gateway_plugin.controller.findings import Finding, in_order
from gateway_plugin.controller.object_store import Store
from gateway_plugin.controller.route_client import KubeClient, KubeError
from gateway_plugin.controller.survey import survey, survey_objects

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from gateway_plugin.controller.change_plan import Action
    from gateway_plugin.controller.workloads import ClusterSnapshot, Ref

logger = logging.getLogger(__name__)

# A rollout touches several objects within a moment.
_COALESCE_SECONDS = 0.1
_FIRST_RETRY_SECONDS = 1.0
"""Doubles with each failure."""
_LAST_RETRY_SECONDS = 60.0
"""A cluster that comes back waits no longer for us."""
_MAX_TURNS = 5
"""Of reading and writing in one go; what is not at rest then comes with the next change."""
# A loop that has not come around for this long after its time is stuck.
_STUCK_SECONDS = 120.0


class Reconciler:
    """One cluster, one set of rules."""

    def __init__(
        self,
        client: KubeClient,
        rules: RouteRules,
        namespaces: Sequence[str] = (),
        *,
        resync_seconds: float,
        now: Callable[[], datetime],
        rng: random.Random,
    ) -> None:
        self.rules = rules
        self.store = Store(rules.keys.prefix)
        self.executor = Executor(client, self.store)
        self.findings: tuple[Finding, ...] = ()
        self._client, self.namespaces = client, tuple(namespaces)
        self._resync_seconds, self._now, self._rng = resync_seconds, now, rng
        self._announcer = RouteAnnouncer(client, now)
        self._contests = Contests(asyncio.get_running_loop().time)
        self._awake = asyncio.Event()
        self._survey_due = True
        self._failed_rounds = 0
        self._last_round: float | None = None
        self._next_survey = 0.0
        self.surveyed = asyncio.Event()
        """Set once everything has been read."""

    def wake(self) -> None:
        """Something has changed."""
        self._awake.set()

    @property
    def is_stuck(self) -> bool:
        """Whether the loop has not come around for too long."""
        if self._last_round is None:
            return False
        silent = asyncio.get_running_loop().time() - self._last_round
        return silent > self._resync_seconds + _LAST_RETRY_SECONDS + _STUCK_SECONDS

    def snapshot(self) -> ClusterSnapshot:
        """What is known now."""
        return self.store.snapshot()

    async def run(self) -> None:
        """Runs until it is cancelled."""
        while True:
            succeeded = await self.round()
            self._failed_rounds = 0 if succeeded else self._failed_rounds + 1
            self._last_round = asyncio.get_running_loop().time()
            await self._sleep()

    async def round(self) -> bool:
        """Makes everything as it should be; says whether all of it could be done."""
        self._awake.clear()
        try:
            if self._survey_due or asyncio.get_running_loop().time() >= self._next_survey:
                await self._survey()
            failures = await self._settle()
        except KubeError as error:
            if self._failed_rounds == 0:
                logger.warning("the Kubernetes API cannot be read: %s; trying again", error)
            return False
        snapshot = self.store.snapshot()
        failed = {failure.about for failure in failures}
        found = [item for item in check(snapshot, self.rules, self._now()) if item.about not in failed]
        self.findings = in_order([*found, *failures])
        await self._announcer.announce(self.findings, snapshot.uid)
        return not failures

    async def _survey(self) -> None:
        self._survey_due = False
        try:
            await survey(self._client, self.store, self.namespaces, self.rules.keys.name)
        except KubeError:
            self._survey_due = True
            raise
        self._next_survey = asyncio.get_running_loop().time() + self._resync_seconds
        self.surveyed.set()

    async def _settle(self) -> list[Finding]:
        """Plans and acts until a plan is empty; races make further turns."""
        failures: dict[Ref, Finding] = {}
        for _ in range(_MAX_TURNS):
            actions, takes_away = self._plan()
            if takes_away:
                # A watch that lags must not take a model from its users: what still serves is looked up first.
                await survey_objects(self._client, self.store, self.namespaces)
                actions, _ = self._plan()
            refused = {action.ref for action in actions if not self._contests.admits(action.ref)}
            failures.update((ref, contested(ref)) for ref in refused)
            left = [action for action in actions if action.ref not in failures]
            if not left:
                break
            failures.update((failed.about, failed) for failed in await self.executor.run(left))
            for action in left:
                if action.ref not in failures:
                    self._contests.note(action.ref, removed=isinstance(action, Delete))
        return list(failures.values())

    def _plan(self) -> tuple[Sequence[Action], bool]:
        """What is to be done, and whether that takes something away."""
        snapshot = self.store.snapshot()
        wanted = desired(snapshot, self.rules)
        actions = plan(wanted, snapshot, self.rules.keys.name)
        return actions, any(is_removal(action, wanted) for action in actions)

    async def _sleep(self) -> None:
        """Until something changes, or it is time to look again."""
        if self._failed_rounds:
            delay = min(_FIRST_RETRY_SECONDS * 2.0 ** (self._failed_rounds - 1), _LAST_RETRY_SECONDS)
            delay *= self._rng.uniform(0.5, 1.0)
        else:
            delay = max(self._next_survey - asyncio.get_running_loop().time(), 0.0)
        try:
            async with asyncio.timeout(delay):
                await self._awake.wait()
        except TimeoutError:
            return
        await asyncio.sleep(_COALESCE_SECONDS)
