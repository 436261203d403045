"""An engine's own `/v1/models` and `/version`, read with suspicion: a list that is nonsense harms nobody else's.

What is no list is an error; an entry of a list that is no model is left out, and so is what exceeds the bounds.
"""

from __future__ import annotations

import re
from contextlib import suppress

import msgspec
from msgspec import Raw, Struct

from gateway_plugin.pods.engines.known_models import ModelCard

# An engine with more adapters than this is misread; vLLM's own bound on loaded ones is far below.
MAX_CARDS = 512
MAX_ID_CHARACTERS = 512
"""Of a model's name."""
_MAX_TEXT_CHARACTERS = 1024
"""Of another text."""
_MAX_TOKENS = 2**53
"""What JSON carries exactly."""
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class BadModelList(ValueError):  # noqa: N818 - it says what is wrong
    """What an engine answered is no list of models."""


class _List(Struct):
    data: list[Raw]


class _Card(Struct):
    id: str
    root: object = None
    parent: object = None
    max_model_len: object = None


class _Owned(Struct):
    owned_by: str


class _Version(Struct):
    version: str


def read_model_list(page: bytes) -> tuple[ModelCard, ...]:
    """The models that the engine lists, each once, sorted; raises BadModelList."""
    try:
        entries = msgspec.json.decode(page, type=_List).data
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadModelList(f"not a list of models: {error}") from None
    cards: dict[str, ModelCard] = {}
    for entry in entries[:MAX_CARDS]:
        card = _read_card(entry)
        if card is not None:
            cards.setdefault(card.id, card)
    return tuple(sorted(cards.values(), key=lambda card: card.id))


def owners_of(page: bytes) -> frozenset[str]:
    """Who the listed models belong to, as engines say it: their own name, in most cases."""
    entries = msgspec.json.decode(page, type=_List).data[:MAX_CARDS]
    owners = set()
    for entry in entries:
        with suppress(msgspec.MsgspecError, UnicodeDecodeError):
            owners.add(_text(msgspec.json.decode(entry, type=_Owned).owned_by).lower())
    return frozenset(owners)


def read_version(page: bytes) -> str:
    """The engine's version; empty for what says none."""
    try:
        return _text(msgspec.json.decode(page, type=_Version).version)[:64]
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""


def _read_card(entry: Raw) -> ModelCard | None:
    try:
        card = msgspec.json.decode(entry, type=_Card)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    if not _text(card.id) or len(card.id) > MAX_ID_CHARACTERS or card.id != card.id.strip():
        return None
    length = card.max_model_len
    known = length if isinstance(length, int) and not isinstance(length, bool) and 0 < length < _MAX_TOKENS else None
    return ModelCard(card.id, _text(card.root), _text(card.parent), known)


def _text(value: object) -> str:
    """The text, or nothing for what cannot be shown."""
    if not isinstance(value, str) or len(value) > _MAX_TEXT_CHARACTERS or _CONTROL.search(value):
        return ""
    return value
