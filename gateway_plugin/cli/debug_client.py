"""Asks `/debug/...` of running plugins, for the command line."""

from __future__ import annotations

import json
from typing import TypeVar
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode
from urllib.request import Request, build_opener

TIMEOUT_SECONDS = 10.0

T = TypeVar("T")


class DebugError(RuntimeError):
    """There is no answer; the text says why."""


class NotKnownError(DebugError):
    """The plugin answers that it knows nothing of this."""


def ask(kind: type[T], url: str, path: str, admin_token: str = "", **query: object) -> T:
    """The decoded JSON of a plugin's operations port, of this kind; raises DebugError."""
    if not url.startswith(("http://", "https://")):
        raise DebugError(f"{url}: not an http:// or https:// address")
    asked = {name: value for name, value in query.items() if value not in ("", 0, None)}
    whole = f"{url.rstrip('/')}{path}" + (f"?{urlencode(asked)}" if asked else "")
    request = Request(whole, headers={"authorization": f"Bearer {admin_token}"} if admin_token else {})  # noqa: S310
    try:
        with build_opener().open(request, timeout=TIMEOUT_SECONDS) as answer:
            found = json.loads(answer.read())
    except HTTPError as error:
        what = f"{error.code}: {_message(error.read(), error.reason)}"
        raise (NotKnownError(what) if error.code == 404 else DebugError(what)) from None
    except (URLError, OSError, ValueError) as error:
        raise DebugError(f"no plugin answers at {url}: {getattr(error, 'reason', error)}") from None
    if not isinstance(found, kind):
        raise DebugError(f"{url} does not answer as a plugin's operations port does")
    return found


def quoted(text: str) -> str:
    """As one part of a path."""
    return quote(text, safe="", errors="surrogateescape")


def _message(body: bytes, reason: str) -> str:
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return reason
