"""What is known of a model apart from figures: everything that the ETag of a list depends on."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import msgspec
from msgspec import Struct


class Status(StrEnum):
    """How a model is, over all of its pods."""

    READY = "ready"
    """Every pod that is awake can take requests."""
    DEGRADED = "degraded"
    """Some can."""
    LOADING = "loading"
    """None can yet."""
    SLEEPING = "sleeping"
    """All that could are asleep."""
    UNAVAILABLE = "unavailable"
    """There is no pod, or all are sick."""


class Kind(StrEnum):
    """What stands behind an id."""

    BASE = "base"
    ADAPTER = "adapter"
    ALIAS = "alias"


class Reason(Struct, frozen=True):
    """Why a model is not simply ready, and of how many pods that holds."""

    code: str
    pods: int
    detail: str


class CanaryFact(Struct, frozen=True):
    """Another version that gets a share of a model's users."""

    model: str
    weight_percent: float


class ModelFacts(Struct, frozen=True, kw_only=True):
    """One entry of the list, as it is shown in full; operators alone see the last three fields."""

    id: str
    object: Literal["model"] = "model"
    created: int
    """When it was first seen, seconds since the epoch."""
    owned_by: str
    kind: Kind = Kind.BASE
    root: str
    parent: str | None = None
    status: Status
    reasons: tuple[Reason, ...] = ()
    ready_pods: int = 0
    total_pods: int = 0
    engines: tuple[str, ...] = ()
    engine_versions: tuple[str, ...] = ()
    gpus: tuple[str, ...] = ()
    max_model_len: int | None = None
    labels: dict[str, tuple[str, ...]] = {}
    tags: tuple[str, ...] = ()
    confirmed: bool = True
    """False: remembered from before the start, and not seen since."""
    alias_of: str | None = None
    hidden: bool = False
    canary: CanaryFact | None = None


FACT_FIELDS = ModelFacts.__struct_fields__
BASIC_FIELDS = ("id", "object", "created", "owned_by")
OPERATORS_FIELDS = ("alias_of", "hidden", "canary")


class BasicModel(Struct, frozen=True):
    """OpenAI's own shape."""

    id: str
    object: str
    created: int
    owned_by: str


def basic_json(facts: ModelFacts) -> bytes:
    """As OpenAI shows a model."""
    return msgspec.json.encode(BasicModel(facts.id, facts.object, facts.created, facts.owned_by))


def public_facts(facts: ModelFacts) -> ModelFacts:
    """As users may see it: nothing of what the operator arranged behind names."""
    if facts.alias_of is None and facts.canary is None and not facts.hidden:
        return facts
    public = msgspec.structs.replace(facts, alias_of=None, canary=None, hidden=False)
    if facts.kind is not Kind.ALIAS:
        return public
    return msgspec.structs.replace(public, kind=Kind.BASE, root=facts.id, parent=None)
