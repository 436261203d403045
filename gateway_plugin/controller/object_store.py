"""The newest known state of the cluster, fed by watches and by complete lists, which come at the same time.

A watch that breaks for a while does not say what was deleted meanwhile; a complete list does. What a watch says while a
list is under way is newer than the list.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from gateway_plugin.controller.kinds import GATEWAY, HTTP_ROUTE, REFERENCE_GRANT, SERVICE, WORKLOADS, ObjectKind
from gateway_plugin.controller.label_reading import read
from gateway_plugin.controller.workloads import ClusterSnapshot, Raw, Ref, Workload, ref_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

Known = Workload | Raw


class Store:
    """Objects by kind and name, only as much of each as matters."""

    def __init__(self, label_prefix: str) -> None:
        self._label_prefix = label_prefix
        self._objects: dict[str, dict[Ref, Known]] = {}
        self._touched: list[set[Ref]] = []
        self._unreadable: set[tuple[str, str]] = set()
        self._missing: set[str] = set()
        self.pods: tuple[Raw, ...] | None = None
        self.policies: tuple[Raw, ...] | None = None
        self.classes: tuple[Raw, ...] | None = None
        self.own: tuple[Raw, ...] | None = None

    def read(self, kind: ObjectKind, raw: Raw) -> Known | None:
        """The part of an object that matters; None when nothing of it does."""
        return read(kind, raw, self._label_prefix)

    def put(self, kind: ObjectKind, raw: Raw) -> bool:
        """Takes over an object; says whether anything changed that matters."""
        ref, known = ref_of(kind, raw), self.read(kind, raw)
        return self.drop(ref) if known is None else self.put_known(ref, known)

    def put_known(self, ref: Ref, known: Known) -> bool:
        """Takes over an object that has been read."""
        self._touch(ref)
        return self._set(ref, known)

    def drop(self, ref: Ref) -> bool:
        """Forgets an object; says whether it was known."""
        self._touch(ref)
        return self._remove(ref)

    @contextmanager
    def listing(self) -> Iterator[set[Ref]]:
        """While a list is under way: the set of what was touched meanwhile."""
        touched: set[Ref] = set()
        self._touched.append(touched)
        try:
            yield touched
        finally:
            # By identity: two listings may have touched the same.
            self._touched = [other for other in self._touched if other is not touched]

    def replace(self, kind: ObjectKind, raws: Collection[Raw], touched: Collection[Ref], namespace: str = "") -> bool:
        """Takes over a complete list of a namespace, or of all; says whether anything changed that matters."""
        listed = {ref_of(kind, raw): self.read(kind, raw) for raw in raws}
        present = self._in(kind, namespace)
        changed = False
        for ref in (present | listed.keys()) - set(touched):
            known = listed.get(ref)
            changed |= self._remove(ref) if known is None else self._set(ref, known)
        return changed

    def relist(self, kind: ObjectKind, namespace: str, listed: Mapping[Ref, Known]) -> bool:
        """Takes over a complete list that a watch goes on from: it stands against lists that are under way."""
        changed = False
        for ref in self._in(kind, namespace) - listed.keys():
            changed |= self.drop(ref)
        for ref, known in listed.items():
            changed |= self.put_known(ref, known)
        return changed

    def found(self, kind: ObjectKind, namespace: str = "") -> bool:
        """The kind can be read; says whether that is news."""
        was_away = (kind.name, namespace) in self._unreadable or kind.name in self._missing
        self._unreadable.discard((kind.name, namespace))
        self._missing.discard(kind.name)
        return was_away

    def hide(self, kind: ObjectKind, namespace: str = "") -> bool:
        """The kind may not be read; what was known of it stays. Says whether that is news."""
        is_news = (kind.name, namespace) not in self._unreadable
        self._unreadable.add((kind.name, namespace))
        return is_news

    def miss(self, kind: ObjectKind, namespace: str = "") -> bool:
        """There is no such kind; says whether that is news."""
        is_news = kind.name not in self._missing
        self._unreadable.discard((kind.name, namespace))
        self._missing.add(kind.name)
        return is_news

    @property
    def unreadable(self) -> frozenset[str]:
        """Kinds that may not be read in some namespace."""
        return frozenset(name for name, _ in self._unreadable)

    def snapshot(self) -> ClusterSnapshot:
        """The state now. Later changes do not show in it."""
        workloads = {
            ref: known for kind in WORKLOADS for ref, known in self._of(kind).items() if isinstance(known, Workload)
        }
        raws = {kind.name: self._raws(kind) for kind in (SERVICE, REFERENCE_GRANT, HTTP_ROUTE, GATEWAY)}
        return ClusterSnapshot(
            workloads=workloads,
            services=raws["Service"],
            grants=raws["ReferenceGrant"],
            routes=raws["HTTPRoute"],
            gateways=raws["Gateway"],
            unreadable=self.unreadable,
            missing=frozenset(self._missing),
            pods=self.pods,
            policies=self.policies,
            classes=self.classes,
            own=self.own,
        )

    def _of(self, kind: ObjectKind) -> Mapping[Ref, Known]:
        return self._objects.get(kind.name, {})

    def _raws(self, kind: ObjectKind) -> dict[Ref, Raw]:
        return {ref: known for ref, known in self._of(kind).items() if not isinstance(known, Workload)}

    def _in(self, kind: ObjectKind, namespace: str) -> set[Ref]:
        return {ref for ref in self._of(kind) if not namespace or ref.namespace == namespace}

    def _set(self, ref: Ref, known: Known) -> bool:
        objects = self._objects.setdefault(ref.kind, {})
        if objects.get(ref) == known:
            return False
        objects[ref] = known
        return True

    def _remove(self, ref: Ref) -> bool:
        return self._objects.get(ref.kind, {}).pop(ref, None) is not None

    def _touch(self, ref: Ref) -> None:
        for touched in self._touched:
            touched.add(ref)
