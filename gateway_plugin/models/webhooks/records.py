"""Webhooks and dead letters, as they are stored."""

from __future__ import annotations

import base64
import binascii
import secrets
from itertools import islice
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from gateway_plugin.models.webhooks.targets import check_url

if TYPE_CHECKING:
    from collections.abc import Mapping

SECRET_PREFIX = "whsec_"  # noqa: S105 - how Standard Webhooks marks base64
MIN_SECRET_BYTES = 16
_NEW_SECRET_BYTES = 32
"""As many as the digest that is made with it."""
MAX_WEBHOOKS = 50
"""Each gets every event."""
MAX_DEAD_LETTERS = 100
"""Of one webhook; the oldest makes room."""


class Webhook(Struct, frozen=True):
    """Who wants to hear what. No events and no models mean all of them."""

    id: str
    url: str
    secret: str
    events: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    description: str = ""
    created: int = 0

    def wants(self, event_type: str, model: str) -> bool:
        """Whether it is to hear of this."""
        return (not self.events or event_type in self.events) and (not self.models or model in self.models)

    def __repr__(self) -> str:
        # Into no log and no traceback.
        return f"<Webhook {self.id}>"


class DeadLetter(Struct, frozen=True):
    """An event that could not be delivered. Ids sort by time."""

    id: str
    webhook: str
    event_id: str
    event_type: str
    created: int
    attempts: int
    error: str
    body: str


def new_id(prefix: str) -> str:
    """An id that nobody else has."""
    return f"{prefix}_{secrets.token_hex(12)}"


def new_secret() -> str:
    """As Standard Webhooks writes secrets."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(_NEW_SECRET_BYTES)).decode()


def secret_key(secret: str) -> bytes:
    """The key of a secret: base64 behind `whsec_`, else the text itself; ValueError for what is too short or wrong."""
    if secret.startswith(SECRET_PREFIX):
        try:
            key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
        except binascii.Error:
            raise ValueError(f"what follows {SECRET_PREFIX} must be base64") from None
    else:
        key = secret.encode()
    if len(key) < MIN_SECRET_BYTES:
        raise ValueError(f"a secret needs at least {MIN_SECRET_BYTES} bytes")
    return key


def encode(record: Webhook | DeadLetter) -> bytes:
    """As stored."""
    return msgspec.json.encode(record)


def decode_webhook(stored: bytes) -> Webhook | None:
    """None for what cannot be read."""
    try:
        return msgspec.json.decode(stored, type=Webhook)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def decode_webhooks(stored: Mapping[str, bytes]) -> tuple[dict[str, Webhook], int]:
    """Those that can be used, by id, and how many cannot: unreadable, under another's key, or too many."""
    read = ((key, decode_webhook(value)) for key, value in sorted(stored.items()))
    usable = ((key, webhook) for key, webhook in read if webhook is not None and _is_sound(key, webhook))
    webhooks = dict(islice(usable, MAX_WEBHOOKS))
    return webhooks, len(stored) - len(webhooks)


def _is_sound(key: str, webhook: Webhook) -> bool:
    if webhook.id != key:
        return False
    try:
        secret_key(webhook.secret)
        # Where it may go is checked with each attempt; here only that it is a target at all.
        check_url(webhook.url, private=True)
    except (ValueError, OSError):
        return False
    return True


def decode_dead_letter(stored: bytes) -> DeadLetter | None:
    """None for what cannot be read."""
    try:
        return msgspec.json.decode(stored, type=DeadLetter)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
