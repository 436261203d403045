"""Carries out a plan. A lost race is nothing: what has won is read, and the next plan starts from it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from gateway_plugin.controller.change_plan import Action, Create, Delete, Patch
from gateway_plugin.controller.findings import Finding
from gateway_plugin.controller.kinds import BY_NAME
from gateway_plugin.controller.route_client import KubeClient, KubeError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway_plugin.controller.object_store import Store
    from gateway_plugin.controller.workloads import Ref

logger = logging.getLogger(__name__)

_WORDS = {Create: "created", Patch: "patched", Delete: "deleted"}


class Executor:
    """Writes to the API, and notes the answers in the store, so that the next plan knows them."""

    def __init__(self, client: KubeClient, store: Store) -> None:
        self._client = client
        self._store = store
        self.counts: dict[tuple[str, str], int] = {}
        """Successes by what was done ("created") and kind; `raced` and `failed`, too."""

    async def run(self, actions: Iterable[Action]) -> list[Finding]:
        """Does each; one that fails stops no other, and becomes a finding."""
        failures = []
        for action in actions:
            try:
                await self._do(action)
            except KubeError as error:
                if error.is_race or (error.is_not_found and not isinstance(action, Create)):
                    self._count("raced", action.ref)
                    await self._reread(action.ref)
                    continue
                self._count("failed", action.ref)
                failures.append(_failure(action, error))
            else:
                logger.info("%s %s", _WORDS[type(action)], action.ref)
                self._count(_WORDS[type(action)], action.ref)
        return failures

    async def _do(self, action: Action) -> None:
        kind = BY_NAME[action.ref.kind]
        match action:
            case Create():
                self._store.put(kind, await self._client.create(kind, action.ref.namespace, action.body))
            case Patch():
                self._store.put(kind, await self._client.patch(action.ref, action.body))
            case Delete():
                await self._client.delete(action.ref, action.uid, action.resource_version)
                self._store.drop(action.ref)

    async def _reread(self, ref: Ref) -> None:
        try:
            self._store.put(BY_NAME[ref.kind], await self._client.get(ref))
        except KubeError as error:
            if error.is_not_found:
                self._store.drop(ref)

    def _count(self, what: str, ref: Ref) -> None:
        self.counts[what, ref.kind] = self.counts.get((what, ref.kind), 0) + 1


def _failure(action: Action, error: KubeError) -> Finding:
    verb = type(action).__name__.lower()
    message = f"cannot {verb} it: {error}"
    fix = "check that its namespace exists"
    if error.code == 403:
        fix = f"grant {verb} on {BY_NAME[action.ref.kind].plural}, and check that the namespace is not ending"
    elif error.code not in {404, 422}:
        fix = "it is tried again"
    return Finding(action.ref, "WriteFailed", message, fix)
