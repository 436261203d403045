"""What a RayClusterFleet or RayClusterReplicaSet asks for, read from the object as the API writes it.

Defaults are a Deployment's: 1 replica, rolling, 25 % more and 25 % fewer, ten revisions kept, 600 s for progress.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

HASH_LABEL = "pod-template-hash"
FLEET_LABEL = "orchestration.aibrix.ai/raycluster-fleet-name"
_HASH_DIGITS = 10
_LONGEST_NAME = 40
"""Ray clusters and their pods get suffixes, and a label's value ends at 63."""


class FleetError(ValueError):
    """It cannot be followed. `reason`: a condition's."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class FleetSpec:
    """`surge` and `unavailable` are clusters, not shares."""

    name: str
    namespace: str
    uid: str
    replicas: int
    template: Mapping[str, Any]
    recreate: bool = False
    surge: int = 1
    unavailable: int = 0
    min_ready_seconds: float = 0.0
    history: int = 10
    paused: bool = False
    progress_deadline_seconds: float = 600.0

    @property
    def template_hash(self) -> str:
        return template_hash(self.template)


def read_fleet(raw: Mapping[str, Any]) -> FleetSpec:
    """FleetError says what is wrong with it."""
    metadata, spec = _mapping(raw.get("metadata")), _mapping(raw.get("spec"))
    name, replicas = str(metadata.get("name", "")), _count(spec.get("replicas"), 1, "replicas")
    if len(name) > _LONGEST_NAME:
        raise FleetError("NameTooLong", f"{len(name)} characters; names of its pods allow {_LONGEST_NAME}")
    template = _template(spec)
    strategy = _mapping(spec.get("strategy"))
    kind = strategy.get("type") or "RollingUpdate"
    if kind not in ("RollingUpdate", "Recreate"):
        raise FleetError("InvalidStrategy", f"strategy.type is {kind!r}; RollingUpdate or Recreate is wanted")
    surge, unavailable = _rolling(_mapping(strategy.get("rollingUpdate")) or strategy, replicas)
    return FleetSpec(
        name,
        str(metadata.get("namespace", "")),
        str(metadata.get("uid", "")),
        replicas,
        template,
        kind == "Recreate",
        surge,
        unavailable,
        _count(spec.get("minReadySeconds"), 0, "minReadySeconds"),
        _count(spec.get("revisionHistoryLimit"), 10, "revisionHistoryLimit"),
        bool(spec.get("paused")),
        _count(spec.get("progressDeadlineSeconds"), 600, "progressDeadlineSeconds"),
    )


def _template(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    template = _mapping(spec.get("template"))
    if not _mapping(_mapping(template.get("spec")).get("headGroupSpec")).get("template"):
        raise FleetError("InvalidTemplate", "template.spec.headGroupSpec.template is wanted: it makes the head's pod")
    labels = _mapping(_mapping(template.get("metadata")).get("labels"))
    wanted = _mapping(_mapping(spec.get("selector")).get("matchLabels"))
    strange = {key: value for key, value in wanted.items() if labels.get(key) != value}
    if not wanted or strange:
        words = ", ".join(f"{key}={value}" for key, value in strange.items()) or "it is empty"
        raise FleetError("SelectorMismatch", f"selector.matchLabels must be labels of template.metadata: {words}")
    return template


def _rolling(rolling: Mapping[str, Any], replicas: int) -> tuple[int, int]:
    """A share of more is rounded up, of fewer down; both nothing would never move."""
    surge = _share(rolling.get("maxSurge"), replicas, "maxSurge", math.ceil)
    unavailable = _share(rolling.get("maxUnavailable"), replicas, "maxUnavailable", math.floor)
    return (surge, unavailable) if surge or unavailable else (0, 1)


def _share(value: object, replicas: int, what: str, rounded: Any) -> int:  # noqa: ANN401 - math.ceil or math.floor
    text = "25%" if value is None else str(value)
    if re.fullmatch(r"\d{1,9}", text):
        return int(text)
    if not re.fullmatch(r"\d{1,3}%", text):
        raise FleetError("InvalidStrategy", f"{what} is {value!r}; a number or a share such as 25% is wanted")
    return int(rounded(int(text[:-1]) * replicas / 100))


def _count(value: object, default: int, what: str) -> int:
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise FleetError("InvalidSpec", f"{what} is {value!r}; a number from 0 is wanted")
    return value


def template_hash(template: Mapping[str, Any]) -> str:
    """Equal for templates that mean the same."""
    return hashlib.sha256(json.dumps(meant(template), sort_keys=True).encode()).hexdigest()[:_HASH_DIGITS]


def meant(template: Mapping[str, Any]) -> Any:  # noqa: ANN401 - JSON
    """A template without what carries no meaning: empty members, and the hash that a set adds to its labels."""
    plain = copy.deepcopy(dict(template))
    labels = _mapping(_mapping(plain.get("metadata")).get("labels"))
    if isinstance(labels, dict):
        labels.pop(HASH_LABEL, None)
    return _pruned(plain)


def _pruned(value: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, Mapping):
        found = {key: _pruned(one) for key, one in value.items()}
        return {key: one for key, one in found.items() if one not in (None, {}, [], "")}
    return [_pruned(one) for one in value] if isinstance(value, list) else value


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
