"""CPU and memory of pods, as metrics.k8s.io tells, in the units that AIBrix's targets have.

    cpu     percent of what the pod's containers request     memory  MiB

A pod whose containers request no CPU has no utilisation; as Kubernetes' HPA has it, that is missing and not 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gateway_plugin.controller.workloads import Raw

RESOURCES = ("cpu", "memory")
_FACTORS = {
    "n": 1e-9,
    "u": 1e-6,
    "m": 1e-3,
    "": 1.0,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "P": 1e15,
    "E": 1e18,
    "Ki": 2.0**10,
    "Mi": 2.0**20,
    "Gi": 2.0**30,
    "Ti": 2.0**40,
    "Pi": 2.0**50,
    "Ei": 2.0**60,
}
_MIB = 2.0**20


def quantity(text: object) -> float:
    """`250m`, `1.5`, `128Mi`, `1e3`. ValueError when it is none."""
    words = str(text).strip()
    try:
        return float(words)
    except ValueError:
        number = words.rstrip("KkMGTPEinum")
        return float(number) * _factor(words[len(number) :], words)


def _factor(suffix: str, words: str) -> float:
    try:
        return _FACTORS[suffix]
    except KeyError:
        raise ValueError(f"{words!r} is no quantity") from None


def values_of(resource: str, pods: Sequence[Raw], usages: Sequence[Raw]) -> dict[str, float]:
    """By pod; pods of which nothing is told, or that request no CPU, are left out."""
    used = {_name(raw): _sum(raw.get("containers") or (), "usage", resource) for raw in usages}
    found: dict[str, float] = {}
    for raw in pods:
        usage = used.get(_name(raw))
        if usage is None:
            continue
        if resource == "memory":
            found[_name(raw)] = usage / _MIB
        elif requested := _sum((raw.get("spec") or {}).get("containers") or (), "resources", resource):
            found[_name(raw)] = 100.0 * usage / requested
    return found


def _sum(containers: Iterable[Mapping[str, Any]], part: str, resource: str) -> float | None:
    """Over all containers; None where one of them does not say."""
    total = 0.0
    for container in containers:
        own = container.get(part) or {}
        own = own.get("requests") or {} if part == "resources" else own
        try:
            total += quantity(own[resource])
        except (KeyError, ValueError):
            return None
    return total


def _name(raw: Raw) -> str:
    return str((raw.get("metadata") or {}).get("name", ""))
