"""How engines and sidecars are asked to load and unload an adapter, and what their answers mean.

    vLLM     POST /v1/load_lora_adapter   {"lora_name", "lora_path"[, "load_inplace"]}     /v1/unload_lora_adapter
    SGLang   POST /load_lora_adapter      {"lora_name", "lora_path"}                       /unload_lora_adapter
    sidecar  POST /v1/lora_adapter/load   {"lora_name", "artifact_url"}, or "lora_path"    /v1/lora_adapter/unload

Words of errors differ between versions, so an answer is read by its status first and its words second. "Already loaded"
is a success when it was loaded from the same artifact. Sources: vLLM's and SGLang's documentation of dynamic adapters.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from typing import Any

_MOST_WORDS = 300
"""Of an engine's error, which may be a traceback."""
_ALREADY = "already been loaded"
_ALREADY_SGLANG = "already loaded"


class LoaderKind(Enum):
    """Who loads: the engine itself, or a sidecar beside it."""

    VLLM = "vllm"
    SGLANG = "sglang"
    SIDECAR = "sidecar"


_PATHS = {
    LoaderKind.VLLM: ("/v1/load_lora_adapter", "/v1/unload_lora_adapter"),
    LoaderKind.SGLANG: ("/load_lora_adapter", "/unload_lora_adapter"),
    LoaderKind.SIDECAR: ("/v1/lora_adapter/load", "/v1/lora_adapter/unload"),
}


@dataclass(frozen=True, slots=True)
class EngineCall:
    path: str
    body: dict[str, Any]


class LoadOutcome(Enum):
    DONE = "done"
    ALREADY = "already loaded"
    ABSENT = "not loaded"
    """There was nothing to unload."""
    OLD_SIDECAR = "old sidecar"
    """It knows the older form only."""
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class LoadAnswer:
    outcome: LoadOutcome
    reason: str = ""
    """A condition's reason."""
    words: str = ""

    @property
    def is_success(self) -> bool:
        return self.outcome in (LoadOutcome.DONE, LoadOutcome.ALREADY, LoadOutcome.ABSENT)


def load_call(
    kind: LoaderKind, name: str, source: str, *, in_place: bool = False, delegated: bool = True
) -> EngineCall:
    """`source`: an artifact URL for a sidecar that is asked to fetch it (`delegated`), else a path or repository."""
    key = "artifact_url" if kind is LoaderKind.SIDECAR and delegated else "lora_path"
    body: dict[str, Any] = {"lora_name": name, key: source}
    if in_place and kind is LoaderKind.VLLM:
        body["load_inplace"] = True
    return EngineCall(_PATHS[kind][0], body)


def unload_call(kind: LoaderKind, name: str) -> EngineCall:
    return EngineCall(_PATHS[kind][1], {"lora_name": name})


def load_answer(kind: LoaderKind, status: int, text: str) -> LoadAnswer:
    """Loaded, loaded before, or why not."""
    words = _words(text)
    if status in (200, 201):
        return _sglang_answer(text, words) if kind is LoaderKind.SGLANG else LoadAnswer(LoadOutcome.DONE)
    if _ALREADY in words or _ALREADY_SGLANG in words:
        return LoadAnswer(LoadOutcome.ALREADY)
    if kind is LoaderKind.SIDECAR and status == 422:
        return LoadAnswer(LoadOutcome.OLD_SIDECAR, "OldSidecar", words)
    return LoadAnswer(LoadOutcome.REFUSED, _reason(status, words), words)


def unload_answer(status: int, text: str) -> LoadAnswer:
    words = _words(text)
    if status in (200, 201):
        return LoadAnswer(LoadOutcome.DONE)
    if status == 404 or "cannot be found" in words or "not loaded" in words:
        return LoadAnswer(LoadOutcome.ABSENT)
    return LoadAnswer(LoadOutcome.REFUSED, _reason(status, words), words)


def _sglang_answer(text: str, words: str) -> LoadAnswer:
    try:
        succeeded = json.loads(text).get("success", True)
    except (ValueError, AttributeError):
        succeeded = True
    return LoadAnswer(LoadOutcome.DONE) if succeeded else LoadAnswer(LoadOutcome.REFUSED, _reason(400, words), words)


def _reason(status: int, words: str) -> str:
    lower = words.lower()
    if "rank" in lower:
        return "RankTooLarge"
    if status == 404 and "adapter" not in lower:
        return "LoadingNotEnabled"
    if status == 404 or "no adapter found" in lower or "does not exist" in lower:
        return "ArtifactNotFound"
    if status in (401, 403):
        return "Unauthorized"
    return "ModelAdapterLoadingError"


def _words(text: str) -> str:
    """The message of an error in any of the engines' forms, else the text itself."""
    try:
        found = json.loads(text)
    except ValueError:
        return text.strip()[:_MOST_WORDS]
    if isinstance(found, dict):
        inner = found.get("error")
        inner = inner if isinstance(inner, dict) else found
        for key in ("message", "error_message", "detail", "error"):
            if inner.get(key):
                return str(inner[key])[:_MOST_WORDS]
    return str(found)[:_MOST_WORDS]


def listed_adapters(text: str, base: str) -> dict[str, str | None]:
    """Adapters in an answer to `GET /v1/models`, by name: the path that each was loaded from, where it is told.

    An adapter has a parent, or is not the base. ValueError when it is no such answer.
    """
    try:
        cards = json.loads(text)["data"]
        found = {str(card["id"]): card for card in cards}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"no list of models: {error}") from None
    return {
        name: card.get("root") if isinstance(card.get("root"), str) else None
        for name, card in found.items()
        if card.get("parent") and name != base
    }
