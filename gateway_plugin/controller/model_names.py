"""Which models a workload serves: by the label, or by the annotation of the same key, of the workload or of its pods.

Pods that carry both serve both names, and each has a route of its own. An adapter is known to engines and to the plugin
by its object's name, whatever its label says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway_plugin.controller.findings import Finding
from gateway_plugin.controller.object_names import is_header_value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway_plugin.controller.route_keys import RouteKeys
    from gateway_plugin.controller.workloads import Workload

_SHOWN_CHARACTERS = 100
"""Of a bad name, in messages."""


def models_of_workload(workload: Workload, keys: RouteKeys) -> tuple[list[str], list[Finding]]:
    """All names that a route can match, and what is wrong with any."""
    own = _names(workload.labels, workload.annotations, keys)
    if workload.is_adapter:
        return [workload.ref.name], list(_about_adapter(workload, own, keys))
    of_pods = [name for item in workload.templates for name in _names(item.labels, item.annotations, keys)]
    written = dict.fromkeys([*own, *of_pods])
    findings = [*_unusable(workload, written, keys), *_about_pods(workload, own, of_pods, keys)]
    return [name for name in written if is_header_value(name)], findings


def _names(labels: Mapping[str, str], annotations: Mapping[str, str], keys: RouteKeys) -> list[str]:
    return [place[keys.name].strip() for place in (labels, annotations) if keys.name in place]


def _unusable(workload: Workload, written: Mapping[str, object], keys: RouteKeys) -> Iterator[Finding]:
    for name in written:
        if not name:
            yield Finding(workload.ref, "EmptyModelName", f"{keys.name} is empty", "write a name, or remove it")
        elif not is_header_value(name):
            message = f"the model's name {name[:_SHOWN_CHARACTERS]!r} cannot stand in a header: no route can match it"
            fix = "use printable ASCII characters and single blanks"
            yield Finding(workload.ref, "UnroutableModelName", message, fix)


def _about_pods(workload: Workload, own: list[str], of_pods: list[str], keys: RouteKeys) -> Iterator[Finding]:
    missing = [name for name in own if is_header_value(name) and name not in of_pods]
    if not workload.templates or not missing:
        return
    if of_pods:
        others = ", ".join(repr(name) for name in dict.fromkeys(of_pods))
        message = f"it is labelled {missing[0]!r}, but its pods {others}, and requests for {missing[0]!r} find no pod"
        yield Finding(workload.ref, "PodsOfOtherModel", message, f"give {keys.name} one value in both places")
    else:
        message = f"its pods have no label {keys.name}, so the gateway does not see them"
        yield Finding(workload.ref, "PodsWithoutModel", message, f"add `{keys.name}: {missing[0]}` to the pod template")


def _about_adapter(workload: Workload, own: list[str], keys: RouteKeys) -> Iterator[Finding]:
    for name in own:
        if name and name != workload.ref.name:
            message = f"its label {keys.name} is {name!r}, but engines and the gateway know it as {workload.ref.name!r}"
            yield Finding(workload.ref, "AdapterLabelIgnored", message, "give the label the adapter's own name")
