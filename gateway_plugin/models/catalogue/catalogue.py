"""The catalogue: what is served, what was served until lately, and what is remembered from before the start.

A model whose pods have gone stays, unavailable, for `keep_seconds`. One that is only remembered is shown as it was,
unconfirmed, until discovery has seen everything (adapters: until the engines were asked, too); then it is there or
gone. Only models whose pods changed are described anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec
from msgspec import Struct

from gateway_plugin.models.catalogue.changes import Change
from gateway_plugin.models.catalogue.describing import Describer, serving
from gateway_plugin.models.catalogue.facts import CanaryFact, Kind, ModelFacts, Reason, Status
from gateway_plugin.models.catalogue.registry import Registry
from gateway_plugin.models.catalogue.snapshot import Entry, Snapshot, new_entry

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from gateway_plugin.models.catalogue.observing import SeenPod, World
    from gateway_plugin.models.catalogue.registry import Alias
    from gateway_plugin.pods.engines.known_models import AdapterInfo

KEEP_SECONDS = 3600.0
"""Default of how long a model without pods stays listed."""
MODELS_PER_STEP = 200
"""Between two breaths of the event loop."""
# More than any deployment serves; it bounds what engines and lost state can pile up.
MAX_MODELS = 20_000


class Remembered(Struct, frozen=True):
    """A model as it is kept over restarts. `gone_at`: since when it has no pods, seconds since the epoch."""

    facts: ModelFacts
    gone_at: float | None = None


class _Inputs(NamedTuple):
    pods: tuple[SeenPod, ...]
    adapter: AdapterInfo | None


class Catalogue:
    """`clock` is the wall clock, in seconds since the epoch. Not thread-safe: one event loop owns it."""

    def __init__(
        self, clock: Callable[[], float], keep_seconds: float = KEEP_SECONDS, describer: Describer | None = None
    ) -> None:
        self.snapshot = Snapshot()
        self.registry = Registry()
        self.known: dict[str, Remembered] = {}
        """Models, without aliases."""
        self._clock = clock
        self._keep_seconds = keep_seconds
        self._describer = describer or Describer()
        self._inputs: dict[str, _Inputs] = {}
        self._entries: dict[str, Entry] = {}

    def remember(self, remembered: Mapping[str, Remembered], *, with_unknown: bool = True) -> None:
        """Takes over what was kept: models not seen yet (where asked for), and the earlier of two first sights."""
        now = self._clock()
        for model, kept in remembered.items():
            known = self.known.get(model)
            if known is None:
                if not with_unknown or (kept.gone_at is not None and now - kept.gone_at >= self._keep_seconds):
                    continue
                unconfirmed = msgspec.structs.replace(kept.facts, confirmed=False)
                self.known[model] = Remembered(unconfirmed, kept.gone_at)
            elif kept.facts.created < known.facts.created:
                facts = msgspec.structs.replace(known.facts, created=kept.facts.created)
                self.known[model] = Remembered(facts, known.gone_at)

    def has_expired(self) -> bool:
        """Whether a model has been without pods for too long."""
        now = self._clock()
        return any(
            kept.gone_at is not None and now - kept.gone_at >= self._keep_seconds for kept in self.known.values()
        )

    def update(self, world: World) -> Generator[None, None, list[Change]]:
        """Swaps in a new snapshot, if anything is new; yields between steps, returns what changed."""
        loaded: dict[str, frozenset[str]] = {}
        for number, model in enumerate(world.models[:MAX_MODELS]):
            if number % MODELS_PER_STEP == MODELS_PER_STEP - 1:
                yield
            self._see(model, _Inputs(tuple(world.pods.get(model, ())), world.adapters.get(model)), loaded)
        self._miss(set(world.models), world)
        return self.republish(loaded)

    def republish(self, loaded: Mapping[str, frozenset[str]] | None = None) -> list[Change]:
        """As `update`, when only the registry has changed."""
        before, now = self.snapshot.by_id, self._clock()
        entries = self._current()
        changes = [
            Change(
                before[model].facts if model in before else None, entry.facts, (loaded or {}).get(model, frozenset())
            )
            for model, entry in entries.items()
            if before.get(model) is not entry or model in (loaded or {})
        ]
        changes += [Change(entry.facts, None) for model, entry in before.items() if model not in entries]
        if changes:
            self.snapshot = Snapshot(entries.values(), self.snapshot.version + 1, now)
        return changes

    def _see(self, model: str, inputs: _Inputs, loaded: dict[str, frozenset[str]]) -> None:
        known, last = self.known.get(model), self._inputs.get(model)
        if known is not None and last == inputs and known.gone_at is None and known.facts.confirmed:
            return
        created = known.facts.created if known is not None else int(self._clock())
        facts = self._describer.describe(model, inputs.pods, inputs.adapter, created)
        if known is not None and not any(pod.report for pod in inputs.pods):
            facts = _with_what_engines_said(facts, known.facts, is_declared=inputs.adapter is not None)
        # The operator names this model, so it stays without pods for ever.
        self.known[model], self._inputs[model] = Remembered(facts), inputs
        if facts.kind is Kind.ADAPTER:
            new = serving(model, inputs.pods, is_adapter=True)
            new -= serving(model, last.pods, is_adapter=True) if last is not None else frozenset()
            if new and (known is None or known.facts.confirmed):
                loaded[model] = new

    def _miss(self, seen: set[str], world: World) -> None:
        now = self._clock()
        for model, known in list(self.known.items()):
            if model in seen:
                continue
            self._inputs.pop(model, None)
            if not world.synced or (known.facts.kind is Kind.ADAPTER and not world.settled):
                continue
            gone_at = now if known.gone_at is None else known.gone_at
            if now - gone_at >= self._keep_seconds or len(self.known) > MAX_MODELS:
                del self.known[model]
            elif known.gone_at is None or not known.facts.confirmed:
                self.known[model] = Remembered(_without_pods(known.facts), gone_at)

    def _current(self) -> dict[str, Entry]:
        """Entries by id; those whose facts are as before are the same objects as before."""
        facts = {model: self._with_rule(kept.facts) for model, kept in self.known.items()}
        for name, alias in self.registry.aliases.items():
            facts[name] = _alias_facts(name, alias, facts.get(alias.target), self._describer.owned_by)
        self._entries = {
            model: entry
            if (entry := self._entries.get(model)) is not None and (entry.facts is now or entry.facts == now)
            else new_entry(now)
            for model, now in facts.items()
        }
        return self._entries

    def _with_rule(self, facts: ModelFacts) -> ModelFacts:
        rule = self.registry.rules.get(facts.id)
        if rule is None:
            return facts
        canary = CanaryFact(rule.canary.model, rule.canary.weight_percent) if rule.canary is not None else None
        return msgspec.structs.replace(facts, hidden=rule.hidden, canary=canary)


def _with_what_engines_said(facts: ModelFacts, before: ModelFacts, *, is_declared: bool) -> ModelFacts:
    """Until engines have been asked, what they said last stands: a restart of the gateway is no news of a model."""
    if not is_declared:
        facts = msgspec.structs.replace(facts, kind=before.kind, root=before.root, parent=before.parent)
    return msgspec.structs.replace(
        facts,
        engine_versions=before.engine_versions if facts.total_pods else (),
        max_model_len=before.max_model_len,
    )


def _without_pods(facts: ModelFacts) -> ModelFacts:
    return msgspec.structs.replace(
        facts,
        status=Status.UNAVAILABLE,
        reasons=(Reason("no_pods", 0, "no pod serves it"),),
        ready_pods=0,
        total_pods=0,
        confirmed=True,
    )


def _alias_facts(name: str, alias: Alias, target: ModelFacts | None, owned_by: str) -> ModelFacts:
    if target is None:
        return ModelFacts(
            id=name,
            created=alias.created,
            owned_by=owned_by,
            kind=Kind.ALIAS,
            root=alias.target,
            status=Status.UNAVAILABLE,
            reasons=(Reason("no_target", 0, f"there is no model {alias.target}"),),
            alias_of=alias.target,
        )
    # Hiding a model does not hide its aliases: to offer it under another name only is what hiding is for.
    return msgspec.structs.replace(
        target,
        id=name,
        created=alias.created,
        kind=Kind.ALIAS,
        root=alias.target,
        parent=None,
        alias_of=alias.target,
        hidden=False,
        canary=None,
    )
