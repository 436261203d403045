"""From finished exchanges to limits, latency, health and metrics; the charge id makes settling safe to repeat.

TPOT = (duration - TTFT) / (completion tokens - 1), for responses of at least two tokens
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import msgspec

from gateway_plugin.accounting.cut_off import CutOffTokens
from gateway_plugin.accounting.model_metrics import ModelMetrics
from gateway_plugin.accounting.verdicts import failure_of, passed_over
from protos.access_log import UnreadableEntry
from ratelimit import Settlement, Source, StoreUnavailable, check_subject
from ratelimit.rare_log import RareLog
from routing.pods.circuit import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway_plugin.accounting.ledger_writer import LedgerWriter
    from gateway_plugin.accounting.limiting import Limiting
    from gateway_plugin.metrics.families import Metrics, Spread
    from gateway_plugin.metrics.stories import Stories
    from gateway_plugin.models.catalogue.usage_windows import LatencyWindows
    from orchestration.optimizer.request_cells import RequestCells
    from protos.access_log import FinishedExchange

    LogEntry = FinishedExchange | UnreadableEntry | None
    from routing.pods.pod_table import PodTable
    from routing.router import Router

logger = logging.getLogger(__name__)

_CLIENT_CLOSED_REQUEST = 499
_OTHER = "other"
# Of an answer that nobody saw: what a busy engine makes of one request.
UNSEEN_TOKENS_PER_SECOND = 20
_MAX_STRATEGIES = 256
"""Texts of strategies whose metric is kept at hand; combinations are the clients' to write."""
GATHER_SECONDS = 0.1
"""For a store that costs a round trip. Entries come up to a second late; a tenth more hurts nobody."""


class Accountant:
    """Books finished exchanges, from whichever replica's Envoy log they come."""

    def __init__(
        self,
        limiter: Limiting,
        pods: PodTable,
        router: Router,
        metrics: Metrics,
        windows: LatencyWindows | None = None,
        stories: Stories | None = None,
        gather_seconds: float = 0.0,
        cells: RequestCells | None = None,
        ledger: LedgerWriter | None = None,
    ) -> None:
        self._limiter = limiter
        self._pods = pods
        self._router = router
        self._metrics = metrics
        self._cut_off = CutOffTokens()
        self._windows = windows
        self._stories = stories
        self._rare = RareLog(logger)
        self._gather_seconds = gather_seconds
        self._cells = cells
        self._ledger = ledger
        self._parts: tuple[Callable[[FinishedExchange, list[Settlement]], None], ...] = (self._charge, self._observe)
        """What it costs is charged even if what it teaches cannot be learned."""
        if ledger is not None:
            self._parts = (self._charge, self._write_down, self._observe)
        self._charges: list[Settlement] = []
        self._settling: asyncio.Task[None] | None = None
        self._models: dict[str, ModelMetrics] = {}
        """By label; as many as the metrics have children."""
        metrics.forgotten.append(lambda model: self._models.pop(model, None))
        self._strategies: dict[str, Spread] = {}
        """By a strategy's text; what they stand for never goes."""

    async def finish(self, entries: Iterable[LogEntry]) -> None:
        """Books a batch; None entries are foreign and only counted. Never raises for an unreachable limiter.

        An entry that cannot be booked is counted, told once a minute, and keeps no other from being booked.
        """
        charges: list[Settlement] = []
        booked: list[FinishedExchange] = []
        foreign = unreadable = 0
        for entry in entries:
            if entry is None:
                foreign += 1
            elif isinstance(entry, UnreadableEntry):
                unreadable += 1
                self._rare.error("unreadable", "an access log entry cannot be read: %s", entry.reason)
            else:
                booked.append(self._book(entry, charges))
        for outcome, count in (("foreign", foreign), ("ours", len(booked)), ("unreadable", unreadable)):
            self._metrics.log_entries.labels(outcome).inc(count)
        self._tell(booked)
        if charges:
            await self._settle(charges)

    def _book(self, entry: FinishedExchange, charges: list[Settlement]) -> FinishedExchange:
        if entry.uncounted and entry.tokens:
            entry = msgspec.structs.replace(entry, tokens={})
        for part in self._parts:
            try:
                part(entry, charges)
            except Exception as error:  # noqa: BLE001 - one entry must not drop the charges of its batch
                self._metrics.log_entries.labels("failed").inc()
                self._rare.error("failed", "an access log entry could not be booked", error=error)
        return entry

    def _charge(self, entry: FinishedExchange, charges: list[Settlement]) -> None:
        subject = Source(entry.source) if entry.source else entry.user
        if subject:
            check_subject(subject)
            tokens = charged_tokens(entry, self._cut_off)
            output = entry.tokens.get("completion_tokens", 0)
            charges.append(Settlement(subject, entry.charge_id, tokens, entry.reserved_tokens, entry.model, output))

    def _write_down(self, entry: FinishedExchange, _: object) -> None:
        assert self._ledger is not None
        succeeded = failure_of(entry) is None and 0 < entry.status < 400 and not entry.client_aborted
        # What an answer says of its tokens is written as it says it.
        charged = charged_tokens(entry, self._cut_off) if not entry.tokens else 0
        self._ledger.count(entry, charged, succeeded=succeeded)

    def _tell(self, booked: list[FinishedExchange]) -> None:
        try:
            if self._stories is not None:
                self._stories.finish(booked)
        except Exception as error:  # noqa: BLE001 - a line that cannot be written must not drop charges
            self._rare.error("untold", "finished exchanges could not be told of", error=error)

    async def _settle(self, charges: list[Settlement]) -> None:
        """Together with what other batches charge within a moment: one call for each user, not for each exchange."""
        if not self._gather_seconds:
            await self._settle_now(charges)
            return
        self._charges += charges
        if self._settling is None:
            self._settling = asyncio.get_running_loop().create_task(self._settle_together())
        await asyncio.shield(self._settling)

    async def _settle_together(self) -> None:
        await asyncio.sleep(self._gather_seconds)
        charges, self._charges, self._settling = self._charges, [], None
        await self._settle_now(charges)

    async def _settle_now(self, charges: list[Settlement]) -> None:
        try:
            settled = await self._limiter.settle_many(charges)
        except StoreUnavailable as error:
            self._metrics.settlements.labels("lost").inc(len(charges))
            logger.warning("%d token charges are lost: %s", len(charges), error)
            return
        self._metrics.settlements.labels("charged").inc(settled)
        self._metrics.settlements.labels("repeated").inc(len(charges) - settled)

    def _observe(self, entry: FinishedExchange, _: object) -> None:
        # A replica may log for a model that this one does not serve; labels stay bounded by what is served here.
        is_served = self._pods.knows(entry.model)
        label = entry.model if is_served else _OTHER
        failure, tokens = failure_of(entry), entry.tokens
        succeeded = failure is None and 0 < entry.status < 400 and not entry.client_aborted
        prompt, output = tokens.get("prompt_tokens", 0), tokens.get("completion_tokens", 0)
        cached = tokens.get("cached_tokens", 0)
        model = self._models.get(label) or self._new_model(label)
        self._count(entry, label, model, succeeded=succeeded)
        model.duration.observe(entry.duration_seconds)
        model.input_tokens.inc(prompt)
        model.output_tokens.inc(output)
        model.cached_tokens.inc(cached)
        if succeeded:
            self._observe_latency(entry, model, prompt, output, is_served=is_served)
            self._cut_off.learn(entry)
            if self._cells is not None and is_served and prompt:
                self._cells.count(label, prompt, output)
        # Of pods none of which has ever failed there is nothing to tell, unless one did now.
        if failure is not None or entry.attempts > 1 or self._pods.health.has_circuits:
            self._observe_health(entry, failure, succeeded=succeeded)
        self._router.settle(
            entry.charge_id,
            entry.pod_address,
            succeeded=succeeded,
            prompt=prompt,
            cached=cached,
            output=output,
            model=label,
            ttft_seconds=entry.ttft_seconds,
        )

    def _count(self, entry: FinishedExchange, label: str, model: ModelMetrics, *, succeeded: bool) -> None:
        if succeeded:
            model.success(entry.status).inc()
        else:
            status = _CLIENT_CLOSED_REQUEST if entry.client_aborted else entry.status
            self._metrics.failures.labels(label, str(status)).inc()
        if entry.attempts > 1:
            self._metrics.retries.labels(label).inc(entry.attempts - 1)

    def _new_model(self, label: str) -> ModelMetrics:
        model = self._models[label] = ModelMetrics(self._metrics, label)
        return model

    def _observe_health(self, entry: FinishedExchange, failure: Failure | None, *, succeeded: bool) -> None:
        address, targets = entry.pod_address, entry.targets
        vain = passed_over(entry) if entry.attempts > 1 else ()
        for passed in vain:
            self._tell_pod(entry, passed, Failure.PASSED_OVER)
        self._tell_pod(entry, address, failure, succeeded=succeeded)
        if targets and targets[0] != address and targets[0] not in vain:
            # Chosen, perhaps as a probe, and never tried.
            self._tell_pod(entry, targets[0], None)

    def _tell_pod(
        self, entry: FinishedExchange, address: str, failure: Failure | None, *, succeeded: bool = False
    ) -> None:
        row, health = self._pods.row_of(address), self._pods.health
        # Good news of a pod that never failed are none.
        if row is None or (failure is None and health.circuit(row) is None):
            return
        # An exchange that began before the pod did is one of its predecessor's.
        if not health.lived(row, entry.duration_seconds):
            return
        if failure is not None:
            health.failed(row, failure, entry.charge_id)
        elif succeeded:
            health.succeeded(row, entry.charge_id, entry.duration_seconds)
        else:
            health.unclear(row, entry.charge_id)

    def _new_strategy(self, strategy: str) -> Spread:
        """Under the policy's own name: texts of combinations are the clients' to choose."""
        policy = self._router.policy(strategy) if strategy else None
        if len(self._strategies) >= _MAX_STRATEGIES:
            self._strategies.clear()
        spread = self._metrics.strategy_ttft.labels(policy.name if policy is not None else "none")
        self._strategies[strategy] = spread
        return spread

    def _observe_latency(
        self, entry: FinishedExchange, model: ModelMetrics, prompt: int, output: int, *, is_served: bool
    ) -> None:
        ttft, tpot = entry.ttft_seconds, None
        if ttft is not None:
            model.ttft.observe(ttft)
            (self._strategies.get(entry.strategy) or self._new_strategy(entry.strategy)).observe(ttft)
            tpot = tpot_seconds(entry)
            if tpot is not None:
                model.tpot.observe(tpot)
            self._pods.observe(entry.pod_address, ttft_seconds=ttft, tpot_seconds=tpot)
        if is_served and self._windows is not None:
            self._windows.observe(
                entry.model, ttft_seconds=ttft, tpot_seconds=tpot, prompt_tokens=prompt, output_tokens=output
            )


def charged_tokens(entry: FinishedExchange, cut_off: CutOffTokens) -> int:
    """What an exchange costs its user.

    The response's own total, else the sum of its parts. One that named none costs nothing when it is an error, or when
    no pod was reached. Otherwise its pod was asked to do it, whatever became of the client: it costs its prompt and
    what was generated, both estimated; a whole response without a byte yet, which was cut off, what was reserved at
    most. Nothing generated is estimated where nothing was to be, as of embeddings, or of speech, however it streams.
    """
    tokens = {} if entry.uncounted else entry.tokens
    named = tokens.get("total_tokens") or tokens.get("prompt_tokens", 0) + tokens.get("completion_tokens", 0)
    if named or entry.status >= 400 or not entry.pod_address:
        return named
    prompt, reserved_output = entry.prompt_tokens_estimate, entry.reserved_tokens - entry.prompt_tokens_estimate
    if entry.response_bytes:
        generates = not entry.uncounted and (reserved_output > 0 or entry.streamed)
        return prompt + (cut_off.generated(entry) if generates else 0)
    return prompt + max(0, min(reserved_output, int(entry.duration_seconds * UNSEEN_TOKENS_PER_SECOND)))


def tpot_seconds(entry: FinishedExchange) -> float | None:
    """Time per output token after the first, or None where it cannot be told."""
    generated = entry.tokens.get("completion_tokens", 0)
    if entry.ttft_seconds is None or generated < 2:
        return None
    decoding_seconds = entry.duration_seconds - entry.ttft_seconds
    return decoding_seconds / (generated - 1) if decoding_seconds > 0.0 else 0.0
