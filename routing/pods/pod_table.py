"""The pod table: who serves which model, and how much work each pod has.

Discovery brings whole states; the table keeps the difference. A pod that is seen again with the same uid keeps its
row, its in-flight count and its metrics, however often its status changes. A pod that disappears frees its row; leases
on it become harmless (see `routing.pods.books`). A known model without pods stays known, so that "no pod is ready" and
"no such model" are two different answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from xxhash import xxh64_intdigest

from routing.pods.books import Books, Work, booked
from routing.pods.pod_health import PodHealth
from routing.pods.pod_view import PodView

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from routing.pods.books import Lease
    from routing.pods.circuit import Failure
    from routing.pods.columns import Columns, IntColumn
    from routing.profiles import ModelConfig
    from routing.selector import PodFilter
    from routing.spec import ClusterState, PodSpec

# Scrapes come every second or less; ten missed ones mean that the numbers describe another moment.
STALE_AFTER_SECONDS = 10.0
# Weight of the newest measurement: the last ten requests make up 90 % of the average.
EWMA_WEIGHT = 0.2
NO_WORK = Work()


class PodTable:
    """One row a pod. Not thread-safe: one event loop owns it."""

    def __init__(
        self,
        clock: Callable[[], float],
        stale_after_seconds: float = STALE_AFTER_SECONDS,
        health: PodHealth | None = None,
    ) -> None:
        self.books = Books(clock)
        self.health = health or PodHealth(clock)
        self.on_removed: Callable[[int], None] = lambda row: None
        """Called with a row that changes hands."""
        self.on_capacity: Callable[[int, float], None] = lambda row, tokens: None
        """Called when a pod tells how many tokens its KV cache holds, and whenever that changes."""
        self.stale_after_seconds = stale_after_seconds
        """Age from which on polled numbers are unknown."""
        self._specs: dict[int, PodSpec] = {}
        self._row_by_address: dict[str, int] = {}
        self._free_rows: list[int] = list(range(self.columns.capacity - 1, -1, -1))
        self._next_incarnation = 1
        self._ready_rows: dict[str, IntColumn] = {}
        self._first_models: frozenset[str] = frozenset()
        self._configs: dict[str, ModelConfig] = {}
        self.adapters: frozenset[str] = frozenset()
        """Which of the models are adapters."""
        self._cold: frozenset[str] = frozenset()
        self.version = 0
        """Grows with every state that is applied."""

    @property
    def columns(self) -> Columns:
        """The numbers of all rows."""
        return self.books.columns

    def apply(self, state: ClusterState) -> None:
        """Makes the table equal to what discovery sees, keeping the books of pods that stay."""
        seen = {pod.address for pod in state.pods}
        for address in [address for address in self._row_by_address if address not in seen]:
            self._remove(address)
        for pod in state.pods:
            self._put(pod)
        self._cold = self._still_cold(state)
        self.books.pace.regrouped()
        self._ready_rows = self._index(state.models)
        self._first_models = frozenset(pod.models[0] for pod in state.pods if pod.models)
        self._configs = dict(state.configs)
        self.adapters = frozenset(state.adapters)
        self.version += 1

    def models(self) -> list[str]:
        """Names of all known models, also of those without a ready pod, sorted."""
        return sorted(self._ready_rows)

    def first_models(self) -> frozenset[str]:
        """The models under which replicas tell each other of pods: the first of each pod."""
        return self._first_models

    def knows(self, model: str) -> bool:
        """Whether the model is served here at all."""
        return model in self._ready_rows

    def is_cold(self, model: str) -> bool:
        """Whether the model lost its last pod, and none has become ready since."""
        return model in self._cold

    def config(self, model: str) -> ModelConfig | None:
        """What the operator configured for the model."""
        return self._configs.get(model)

    def view(self, model: str) -> PodView:
        """The ready pods of a known model; KeyError for an unknown one."""
        return self.view_of(self._ready_rows[model])

    def only(self, rows: IntColumn, admitted: PodFilter) -> IntColumn:
        """Those of the rows whose pods are admitted."""
        return np.array([row for row in rows.tolist() if admitted.admits(self._specs[row])], dtype=np.int64)

    def view_of(self, rows: IntColumn) -> PodView:
        """The pods of these rows."""
        return PodView(self.books, rows, self.stale_after_seconds)

    def spec(self, row: int) -> PodSpec:
        """The pod that lives in a row."""
        return self._specs[row]

    def specs(self, rows: Sequence[int]) -> tuple[PodSpec, ...]:
        """The pods that live in these rows."""
        specs = self._specs
        return tuple([specs[row] for row in rows])

    def row_of(self, address: str) -> int | None:
        """The row of the pod that answers at "ip:port"."""
        return self._row_by_address.get(address)

    def pod_with_hash(self, address_hash: int) -> PodSpec | None:
        """The pod whose address has this hash."""
        rows = np.flatnonzero(self.columns.address_hash == np.uint64(address_hash)).tolist()
        return next((self._specs[row] for row in rows if row in self._specs), None)

    def book(self, row: int, work: Work = NO_WORK) -> Lease:
        """Counts one more request on the row's pod until the lease is released."""
        return booked(self.books, row, work, self.books.clock())

    def polled(self, row: int, incarnation: int, values: Mapping[str, float], *, asleep: bool = False) -> bool:
        """Takes over what an engine said of itself, by column; False when the row has changed hands meanwhile."""
        if self.incarnation(row) != incarnation:
            return False
        self.health.scraped(row, asleep=asleep)
        capacity_tokens = values.get("kv_capacity_tokens", np.nan)
        if capacity_tokens > 0 and capacity_tokens != self.columns.kv_capacity_tokens[row]:
            self.on_capacity(row, capacity_tokens)
        for name, value in values.items():
            getattr(self.columns, name)[row] = value
        if "engine_prefill_tokens_per_second" in values:
            self.books.pace.told(row)
        self.columns.polled_at_seconds[row] = now = self.books.clock()
        self.books.polls.polled(row, now)
        self.columns.booked_requests_since_poll[row] = 0
        self.columns.booked_tokens_since_poll[row] = 0.0
        return True

    def not_polled(self, row: int, incarnation: int, failure: Failure) -> None:
        """An engine did not tell its metrics, in a way that speaks against the pod."""
        if self.incarnation(row) == incarnation:
            self.health.failed(row, failure)

    def observe(self, address: str, *, ttft_seconds: float | None, tpot_seconds: float | None) -> None:
        """Learns from a finished request how fast the pod at `address` is; unknown addresses are ignored."""
        row = self._row_by_address.get(address)
        if row is None:
            return
        cells = self.books.cells
        if ttft_seconds is not None:
            cells.ttft_seconds[row] = _averaged(cells.ttft_seconds[row], ttft_seconds)
        if tpot_seconds is not None:
            cells.tpot_seconds[row] = _averaged(cells.tpot_seconds[row], tpot_seconds)
            self.books.decode.logged(row, tpot_seconds)

    def items(self) -> Iterator[tuple[int, PodSpec]]:
        """All pods with their rows, in order of name."""
        return iter(sorted(self._specs.items(), key=lambda item: (item[1].name, item[1].address)))

    def rows(self) -> list[tuple[int, PodSpec]]:
        """All pods with their rows, in no order."""
        return list(self._specs.items())

    def ready_rows(self) -> Mapping[str, IntColumn]:
        """The rows of the ready pods of every known model."""
        return self._ready_rows

    def incarnation(self, row: int) -> int:
        """Identifies the pod in the row for as long as it lives; 0 for a row never used."""
        return int(self.columns.incarnation[row])

    def __repr__(self) -> str:
        inflight = sum(int(self.columns.inflight_requests[row]) for row in self._specs)
        return f"<PodTable {len(self._specs)} pods, {len(self._ready_rows)} models, {inflight} in flight>"

    def _still_cold(self, state: ClusterState) -> frozenset[str]:
        """Models without pods, and those that had none and whose pods are still starting."""
        with_pods = {model for pod in state.pods for model in pod.models}
        ready = {model for pod in state.pods if pod.ready for model in pod.models}
        return frozenset(state.models - with_pods) | ((self._cold - ready) & state.models)

    def _put(self, pod: PodSpec) -> None:
        row = self._row_by_address.get(pod.address)
        if row is not None and self._specs[row].uid != pod.uid:
            self._remove(pod.address)
            row = None
        row = self._new_row(pod.address) if row is None else row
        self._specs[row] = pod
        self.columns.model_hash[row] = xxh64_intdigest(pod.models[0].encode()) if pod.models else 0

    def _new_row(self, address: str) -> int:
        if not self._free_rows:
            capacity = self.columns.capacity
            self.books.grow()
            self._free_rows = list(range(self.columns.capacity - 1, capacity - 1, -1))
        row = self._free_rows.pop()
        self.books.reset(row, self._next_incarnation)
        self.health.added(row)
        self.columns.address_hash[row] = xxh64_intdigest(address.encode())
        self._next_incarnation += 1
        self._row_by_address[address] = row
        return row

    def _remove(self, address: str) -> None:
        row = self._row_by_address.pop(address)
        del self._specs[row]
        # A row of nobody: leases still held on it find a foreign incarnation and leave it alone.
        self.books.reset(row, 0)
        self.health.removed(row)
        self.on_removed(row)
        self._free_rows.append(row)

    def _index(self, models: Iterable[str]) -> dict[str, IntColumn]:
        rows: dict[str, list[int]] = {model: [] for model in models}
        for row, pod in self._specs.items():
            for model in pod.models:
                served = rows.setdefault(model, [])
                if pod.ready:
                    served.append(row)
        # By address: the same order on every replica, whatever order discovery brought the pods in.
        return {
            model: np.array(sorted(served, key=lambda row: self._specs[row].address), dtype=np.int64)
            for model, served in rows.items()
        }


def _averaged(known: float, value: float) -> float:
    return value if known != known else known + EWMA_WEIGHT * (value - known)
