"""API keys: several per user, shown once, kept as SHA-256 only.

A secret is `gw-` and 43 random characters (256 bits), so a plain hash cannot be searched. Of the secret itself only the
first characters are kept, for people to tell their keys apart.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING

import msgspec

from ratelimit.users.users import check_user_name

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_KEYS_PER_USER = 100
"""All are read when a user is shown."""
MAX_LABEL_CHARACTERS = 256
"""What people write beside a key."""

_SECRET_PREFIX = "gw-"  # noqa: S105 - what every secret begins with
_SHOWN_CHARACTERS = 7


class NewKey(msgspec.Struct, frozen=True):
    id: str
    secret: str


class ApiKey(msgspec.Struct, frozen=True):
    """A key as it may be shown: `prefix` is how its secret begins, times are seconds since the epoch."""

    id: str
    label: str
    created_at: float
    prefix: str
    expires_at: int | None = None
    """It is nobody's from then on, and stays listed until it is revoked."""


class TooManyKeys(ValueError):  # noqa: N818 - it says what is wrong, like the other errors of this package
    """The user has 100 keys."""

    def __init__(self, user: str) -> None:
        super().__init__(f"user {user!r} has {MAX_KEYS_PER_USER} keys already; revoke one first")


class NoSuchUser(ValueError):  # noqa: N818
    """Keys belong to users who exist."""

    def __init__(self, user: str) -> None:
        super().__init__(f"user {user!r} does not exist")
        self.user = user


def new_key() -> NewKey:
    return NewKey(secrets.token_hex(8), _SECRET_PREFIX + secrets.token_urlsafe(32))


def shown_prefix(secret: str) -> str:
    return secret[:_SHOWN_CHARACTERS]


def secret_sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


class MemoryKeys:
    """`KeyStore` in this process."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._key_clock = clock
        self._keys: dict[str, dict[str, tuple[ApiKey, str]]] = {}
        self._owners: dict[str, tuple[str, int | None]] = {}
        """By hash: whose, and until when."""

    async def create_key(self, user: str, label: str = "", expires_at: int | None = None) -> NewKey:
        check_user_name(user)
        keys = self._keys.setdefault(user, {})
        if len(keys) >= MAX_KEYS_PER_USER:
            raise TooManyKeys(user)
        new = new_key()
        sha256 = secret_sha256(new.secret)
        keys[new.id] = (
            ApiKey(new.id, label[:MAX_LABEL_CHARACTERS], self._key_clock(), shown_prefix(new.secret), expires_at),
            sha256,
        )
        self._owners[sha256] = user, expires_at
        return new

    async def expire_key(self, user: str, key_id: str, expires_at: int) -> bool:
        check_user_name(user)
        key, sha256 = self._keys.get(user, {}).get(key_id, (None, ""))
        if key is None or await self.user_of_key(sha256) is None:
            return False
        self._keys[user][key_id] = msgspec.structs.replace(key, expires_at=expires_at), sha256
        self._owners[sha256] = user, expires_at
        return True

    async def keys(self, user: str) -> list[ApiKey]:
        check_user_name(user)
        return [key for key, _ in self._keys.get(user, {}).values()]

    async def revoke_key(self, user: str, key_id: str) -> bool:
        check_user_name(user)
        key = self._keys.get(user, {}).pop(key_id, None)
        return key is not None and self._owners.pop(key[1], None) is not None

    async def user_of_key(self, secret_sha256: str) -> str | None:
        user, expires_at = self._owners.get(secret_sha256, (None, None))
        return user if expires_at is None or self._key_clock() < expires_at else None

    def _drop_keys(self, user: str) -> None:
        for _, sha256 in self._keys.pop(user, {}).values():
            self._owners.pop(sha256, None)
