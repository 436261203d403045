"""Objects of the API, cut down to what routes depend on: most updates of a workload change nothing here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gateway_plugin.controller.kinds import MODEL_ADAPTER, WORKLOADS, ObjectKind
from gateway_plugin.controller.workloads import Raw, Template, Workload, ref_of, texts

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_RANKS_VARIABLE = "data-parallel-size"
_MAX_RANKS = 64
"""Of data parallelism in one pod: as discovery reads them."""


def read(kind: ObjectKind, raw: Raw, label_prefix: str) -> Workload | Raw | None:
    """The part of an object that matters; None when nothing of it does."""
    if kind in WORKLOADS:
        workload = read_workload(kind, raw)
        return workload if _names_a_model(workload, label_prefix) else None
    return _trimmed(raw)


def read_workload(kind: ObjectKind, raw: Raw) -> Workload:
    """A workload of any kind."""
    spec = raw.get("spec") or {}
    return Workload(
        ref=ref_of(kind, raw),
        labels=texts(raw, "metadata", "labels"),
        annotations=_annotations(raw),
        templates=_templates(kind, raw),
        match_labels=texts(raw, "spec", "selector", "matchLabels"),
        base_model=str(spec.get("baseModel") or "") if kind is MODEL_ADAPTER else "",
        uid=str((raw.get("metadata") or {}).get("uid", "")),
    )


def _names_a_model(workload: Workload, label_prefix: str) -> bool:
    key = f"{label_prefix}name"
    if workload.is_adapter or key in workload.labels or key in workload.annotations:
        return True
    return any(key in template.labels or key in template.annotations for template in workload.templates)


def _templates(kind: ObjectKind, raw: Raw) -> tuple[Template, ...]:
    found = [[_template(item) for item in _at(raw, path.split("."))] for path in kind.templates]
    # The first path that leads to templates holds those which answer HTTP.
    return tuple(next((templates for templates in found if templates), []))


def _at(value: object, path: list[str]) -> Iterator[Raw]:
    if not path:
        if isinstance(value, Mapping):
            yield value
    elif path[0] == "*":
        for item in value if isinstance(value, list) else ():
            yield from _at(item, path[1:])
    elif isinstance(value, Mapping):
        yield from _at(value.get(path[0]), path[1:])


def _template(raw: Raw) -> Template:
    containers = list(_at(raw, ["spec", "containers", "*"]))
    ports = [port for container in containers for port in _at(container, ["ports", "*"])]
    names = [(port.get("name"), port.get("containerPort")) for port in ports]
    return Template(
        labels=texts(raw, "metadata", "labels"),
        annotations=_annotations(raw),
        port_names=tuple((name, number) for name, number in names if name and isinstance(number, int)),
        ranks=_ranks(containers),
    )


def _ranks(containers: list[Raw]) -> int:
    variables = [item for container in containers for item in _at(container, ["env", "*"])]
    values = [str(item.get("value")) for item in variables if item.get("name") == _RANKS_VARIABLE]
    return max([1, *map(rank_count, values)])


def rank_count(text: str) -> int:
    """How many data parallel ranks a text says; 0 when it is no such number."""
    is_number = text.isascii() and text.isdecimal() and len(text) <= len(str(_MAX_RANKS))
    return min(int(text), _MAX_RANKS) if is_number else 0


def _annotations(raw: Raw) -> dict[str, str]:
    return {key: value for key, value in texts(raw, "metadata", "annotations").items() if key != _LAST_APPLIED}


def _trimmed(raw: Raw) -> Raw:
    metadata = {key: value for key, value in (raw.get("metadata") or {}).items() if key != "managedFields"}
    metadata["annotations"] = _annotations(raw)
    # Items of lists do not say their kind, events of watches do: both must come out equal.
    kept = {key: value for key, value in raw.items() if key not in ("apiVersion", "kind")}
    return {**kept, "metadata": metadata}
