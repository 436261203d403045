"""What must be loaded and unloaded so that pods hold what is wanted of them.

    to load      adapters that a pod should have and has not, or has from another artifact (then: in place)
    to unload    adapters of ours that a pod has and should not, once they are drained; the least used of too many

At most `PER_POD` loads run on a pod at once and `IN_ALL` anywhere. What failed waits for 5 s * 2^n, at most 300 s;
adapters that nobody of us loaded are never touched.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from orchestration.adapters.adapter_pods import AdapterPod, WantedAdapter

PER_POD = 2
"""Loads read weights from the same disk."""
IN_ALL = 32
FIRST_DELAY_SECONDS = 5.0
LONGEST_DELAY_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class LoadAdapter:
    pod: str
    adapter: str
    in_place: bool = False
    """The pod has it, from another artifact."""


@dataclass(frozen=True, slots=True)
class UnloadAdapter:
    pod: str
    adapter: str


Step = LoadAdapter | UnloadAdapter


def delay_seconds(failures: int) -> float:
    """Before an adapter is tried again on a pod, after so many failures in a row."""
    return min(FIRST_DELAY_SECONDS * 2.0 ** min(failures - 1, 16), LONGEST_DELAY_SECONDS) if failures else 0.0


def steps(
    adapters: Sequence[WantedAdapter],
    pods: Sequence[AdapterPod],
    places: Mapping[str, Collection[str]],
    *,
    busy: Collection[tuple[str, str]] = (),
    drained: Collection[tuple[str, str]] = (),
) -> list[Step]:
    """`places`: by adapter, the pods it should be on. `busy`: pairs of pod and adapter under way, or that must wait.

    `drained`: pairs to which no request goes any more. Those that are wanted most come first.
    """
    found: list[Step] = list(_unloads(adapters, pods, places, busy, drained))
    running = Counter(pod for pod, _ in busy)
    room = IN_ALL - running.total()
    for load in _loads(adapters, pods, places, busy):
        if room > 0 and running[load.pod] < PER_POD:
            found.append(load)
            running[load.pod] += 1
            room -= 1
    return found


def _loads(
    adapters: Sequence[WantedAdapter],
    pods: Sequence[AdapterPod],
    places: Mapping[str, Collection[str]],
    busy: Collection[tuple[str, str]],
) -> Iterator[LoadAdapter]:
    by_name = {pod.name: pod for pod in pods}
    for adapter in sorted(adapters, key=lambda one: -one.requests_per_second):
        for place in () if adapter.deleted else places.get(adapter.name, ()):
            pod = by_name.get(place)
            if pod is None or (place, adapter.name) in busy or pod.ready_for_seconds is None:
                continue
            if adapter.name not in pod.loaded:
                yield LoadAdapter(place, adapter.name)
            elif pod.loaded[adapter.name] not in (adapter.identity, None):
                yield LoadAdapter(place, adapter.name, in_place=True)


def _unloads(
    adapters: Sequence[WantedAdapter],
    pods: Sequence[AdapterPod],
    places: Mapping[str, Collection[str]],
    busy: Collection[tuple[str, str]],
    drained: Collection[tuple[str, str]],
) -> Iterator[UnloadAdapter]:
    for adapter in adapters:
        wanted = () if adapter.deleted else places.get(adapter.name, ())
        for pod in pods:
            pair = (pod.name, adapter.name)
            if adapter.name in pod.loaded and pod.name not in wanted and pair in drained and pair not in busy:
                yield UnloadAdapter(*pair)
