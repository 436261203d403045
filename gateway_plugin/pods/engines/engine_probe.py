"""What listens at an address: which engine, and which models it serves. For who knows no more than a URL.

The kind is told by the names on the metrics page; where there is none, by what only one engine answers, or by who owns
the models that it lists.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from gateway_plugin.pods.engines.engine_checks import engines_on_page
from gateway_plugin.pods.engines.fetch import FetchOutcome, ScrapeError
from gateway_plugin.pods.engines.metric_names import KNOWN_ENGINES, engine_named
from gateway_plugin.pods.engines.model_lists import BadModelList, owners_of, read_model_list, read_version

if TYPE_CHECKING:
    from gateway_plugin.pods.engines.fetch import Fetch

_OWNERS = {"vllm": "vllm", "sglang": "sglang", "llamacpp": "llamacpp", "lmdeploy": "lmdeploy", "library": "ollama"}
"""`owned_by` of a model, as engines without a metrics page fill it."""
_STRONGEST_FIRST = ("dynamo", "triton", "trtllm")
"""Of engines that show another's metrics beside their own."""
_NO_KIND = "vllm"
"""Whose names many engines borrow; without a metrics page nothing is read under them."""
_METRICS_PATHS = tuple(dict.fromkeys(["/metrics", *(engine_named(name).path for name in KNOWN_ENGINES)]))


class ProbeError(Exception):
    """Nobody answers there as an engine; the text says what came instead."""


@dataclass(frozen=True, slots=True)
class FoundEngine:
    """`adapters`: models that the engine says belong to another of its own, with that one's name."""

    engine: str
    models: tuple[str, ...]
    adapters: tuple[tuple[str, str], ...] = ()
    tells_metrics: bool = True


async def probe(base_url: str, fetch: Fetch, key: str = "") -> FoundEngine:
    """Asks the engine at `base_url` (no slash at its end); raises ProbeError."""
    try:
        page = await _ask(fetch, f"{base_url}/v1/models", key)
        cards = read_model_list(page)
    except ScrapeError as error:
        raise ProbeError(_said(base_url, error)) from None
    except BadModelList as error:
        raise ProbeError(f"{base_url}/v1/models is {error}") from None
    if not cards:
        raise ProbeError(f"{base_url}/v1/models lists no model")
    own = {card.id for card in cards}
    adapters = tuple((card.id, card.parent) for card in cards if card.parent in own and card.parent != card.id)
    lent = {name for name, _ in adapters}
    kind = await _kind_by_metrics(base_url, fetch, key)
    named = kind or await _kind_without(base_url, fetch, key, owners_of(page))
    models = tuple(card.id for card in cards if card.id not in lent)
    return FoundEngine(named, models, adapters, tells_metrics=bool(kind))


def _said(base_url: str, error: ScrapeError) -> str:
    if error.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return f"{base_url} wants an API key: set GATEWAY_ENGINE_API_KEY"
    if error.status:
        return f"{base_url}/v1/models answers {error.status}"
    return f"nothing answers at {base_url} ({error.outcome})"


async def _kind_by_metrics(base_url: str, fetch: Fetch, key: str) -> str:
    for path in _METRICS_PATHS:
        try:
            page = await _ask(fetch, base_url + path, key)
        except ScrapeError as error:
            if error.outcome is not FetchOutcome.BAD_STATUS:
                return ""
            continue
        marks = engines_on_page(page)
        if marks:
            return next((name for name in _STRONGEST_FIRST if name in marks), min(marks))
    return ""


async def _kind_without(base_url: str, fetch: Fetch, key: str, owners: frozenset[str]) -> str:
    try:
        if read_version(await _ask(fetch, f"{base_url}/api/version", key)):
            return "ollama"
    except ScrapeError:
        pass  # every other engine
    return next((_OWNERS[owner] for owner in sorted(owners) if owner in _OWNERS), _NO_KIND)


async def _ask(fetch: Fetch, url: str, key: str) -> bytes:
    return await (fetch(url, key) if key else fetch(url))
