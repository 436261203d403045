"""What the operator arranged behind names: aliases, hidden models, canaries.

    asked --alias--> base --canary--> target        a canary is sticky: hash(base, user) below the weight, in 1/100 %

A user whose share once fell to the canary stays there while the weight only grows. An alias leads to a model, never to
another alias, so that a name is resolved in one step.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Protocol

import msgspec
from msgspec import Struct
from xxhash import xxh64_intdigest

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from gateway_plugin.models.catalogue.snapshot import Snapshot
    from gateway_plugin.pods.engines.known_models import KnownModels

MAX_ENTRIES = 5000
"""Aliases and rules; of more, the first in the order of their names hold."""
_SHARES = 10_000


class Alias(Struct, frozen=True):
    """Another name of a model. `restore_name`: responses name the model as the client did."""

    target: str
    restore_name: bool = False
    created: int = 0


class Canary(Struct, frozen=True):
    """Another version of a model, and the share of its users that get it."""

    model: str
    weight_percent: float


class ModelRule(Struct, frozen=True):
    """What holds for one model."""

    hidden: bool = False
    canary: Canary | None = None


class Target(Struct, frozen=True, gc=False):
    """Where a request goes. `base` is the model behind the name that was asked for, before any canary."""

    model: str
    asked: str
    base: str
    restore_name: bool = False
    other: str = ""
    """The model on the other side of a canary, to which the same name leads other requests."""


@dataclass(frozen=True, slots=True)
class Registry:
    """Immutable; a change makes a new one."""

    aliases: Mapping[str, Alias] = field(default_factory=dict)
    rules: Mapping[str, ModelRule] = field(default_factory=dict)
    restores_names: bool = field(init=False)
    """Whether any response may have to be changed; asked with every request."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "restores_names", any(alias.restore_name for alias in self.aliases.values()))

    def resolve(self, asked: str, user: str) -> Target:
        """The model that serves a user (any stable text stands for one) who asks for this name."""
        alias = self.aliases.get(asked)
        base = alias.target if alias is not None else asked
        rule = self.rules.get(base)
        canary = rule.canary if rule is not None else None
        restore_name = alias is not None and alias.restore_name
        if canary is None:
            return Target(base, asked, base, restore_name)
        model, other = (canary.model, base) if _falls_to_canary(base, user, canary) else (base, canary.model)
        return Target(model, asked, base, restore_name, other)

    def names_of(self, models: Collection[str]) -> tuple[str, ...]:
        """Every name that may lead to one of the models, their own included."""
        canaried = (base for base, rule in self.rules.items() if rule.canary and rule.canary.model in models)
        reached = dict.fromkeys((*models, *canaried))
        return (*reached, *(name for name, alias in self.aliases.items() if alias.target in reached))

    def rule(self, model: str) -> ModelRule:
        """What holds for a model."""
        return self.rules.get(model) or ModelRule()


class Names(Protocol):
    """Names as requests use them."""

    def resolve(self, asked: str, user: str) -> Target:
        """The model behind a name; `user` is any text that stays the same for one."""

    def other_names(self, target: Target) -> tuple[str, ...]:
        """What else than the model's name admits a request."""

    def names_of(self, models: Collection[str]) -> tuple[str, ...]:
        """Whatever admits a request to one of the models."""

    def restores_names(self) -> bool:
        """Whether any response may have to be changed."""

    def route_of(self, model: str) -> str:
        """The model whose route in Envoy leads to the pods of this one; empty where it has its own."""


class PlainNames:
    """Every name is the model's own."""

    def resolve(self, asked: str, user: str) -> Target:
        return Target(asked, asked, asked)

    def other_names(self, target: Target) -> tuple[str, ...]:
        return ()

    def names_of(self, models: Collection[str]) -> tuple[str, ...]:
        return tuple(models)

    def restores_names(self) -> bool:
        return False

    def route_of(self, model: str) -> str:
        return ""


class Current(Protocol):
    """What holds at this moment; the catalogue."""

    registry: Registry
    snapshot: Snapshot


class CatalogueNames:
    """Names as the catalogue knows them now, and what engines list beside."""

    def __init__(self, current: Current, known: KnownModels) -> None:
        self._current = current
        self._known = known

    def resolve(self, asked: str, user: str) -> Target:
        return self._current.registry.resolve(asked, user)

    def other_names(self, target: Target) -> tuple[str, ...]:
        """The names that led to it, and the model's labels."""
        entry = self._current.snapshot.by_id.get(target.base)
        labels = entry.grants if entry is not None else ()
        if target.asked == target.model:
            return labels
        return (target.asked, target.base, *labels)

    def names_of(self, models: Collection[str]) -> tuple[str, ...]:
        """All names that may lead to one of the models, and labels."""
        names = self._current.registry.names_of(models)
        entries = (self._current.snapshot.by_id.get(name) for name in names)
        return (*names, *(label for entry in entries if entry is not None for label in entry.grants))

    def restores_names(self) -> bool:
        return self._current.registry.restores_names

    def route_of(self, model: str) -> str:
        """Nobody makes routes for adapters that only engines know of; their base model's lead to the same pods."""
        return self._known.undeclared.get(model, "")


def _falls_to_canary(base: str, user: str, canary: Canary) -> bool:
    return xxh64_intdigest(f"{base}\0{user}".encode()) % _SHARES < canary.weight_percent * _SHARES / 100


# As stored: one field each, so that two operators do not overwrite each other's work.
ALIAS, RULE = "alias/", "model/"


def encode_alias(alias: Alias) -> bytes:
    """As stored."""
    return msgspec.json.encode(alias)


def encode_rule(rule: ModelRule) -> bytes:
    """As stored."""
    return msgspec.json.encode(rule)


def decode_registry(stored: Mapping[str, bytes]) -> tuple[Registry, list[str]]:
    """The registry, and the fields that cannot be read."""
    aliases: dict[str, Alias] = {}
    rules: dict[str, ModelRule] = {}
    unreadable: list[str] = []
    for key, value in islice(sorted(stored.items()), MAX_ENTRIES):
        try:
            if key.startswith(ALIAS):
                aliases[key.removeprefix(ALIAS)] = msgspec.json.decode(value, type=Alias)
            elif key.startswith(RULE):
                rules[key.removeprefix(RULE)] = msgspec.json.decode(value, type=ModelRule)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            unreadable.append(key)
    return Registry(aliases, rules), unreadable
