"""Dead letters in the catalogue's store: the newest hundred of each webhook."""

from __future__ import annotations

import logging
from collections import defaultdict
from typing import TYPE_CHECKING

from gateway_plugin.models.webhooks.records import MAX_DEAD_LETTERS, DeadLetter, decode_dead_letter, encode
from ratelimit import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway_plugin.models.store import CatalogueStore

logger = logging.getLogger(__name__)


class DeadLetters:
    """Keys are "<webhook>/<letter>", whose ids sort by time."""

    def __init__(self, store: CatalogueStore) -> None:
        self._store = store

    async def of(self, webhook_id: str) -> list[DeadLetter]:
        """Those of one webhook, newest first. Raises StoreUnavailable."""
        stored = await self._store.read("dead_letters")
        letters = (decode_dead_letter(value) for key, value in stored.items() if key.startswith(f"{webhook_id}/"))
        return sorted((letter for letter in letters if letter is not None), key=lambda one: one.id, reverse=True)

    async def bury(self, letters: Iterable[DeadLetter]) -> None:
        """Keeps them; one log line if even that is not possible."""
        new = {_key(letter): encode(letter) for letter in letters}
        try:
            known = await self._store.read("dead_letters")
            dropped = frozenset(_too_many([*known, *new]))
            kept = {key: value for key, value in new.items() if key not in dropped}
            await self._store.write("dead_letters", kept, dropped)
        except StoreUnavailable as error:
            logger.error("%d dead letters of webhooks are lost: %s", len(new), error)

    async def drop(self, letters: Iterable[DeadLetter]) -> None:
        """Forgets them. Raises StoreUnavailable."""
        await self._store.write("dead_letters", {}, [_key(letter) for letter in letters])


def _key(letter: DeadLetter) -> str:
    return f"{letter.webhook}/{letter.id}"


def _too_many(keys: Iterable[str]) -> list[str]:
    by_webhook: defaultdict[str, list[str]] = defaultdict(list)
    for key in keys:
        by_webhook[key.partition("/")[0]].append(key)
    return [key for some in by_webhook.values() for key in sorted(some, reverse=True)[MAX_DEAD_LETTERS:]]
