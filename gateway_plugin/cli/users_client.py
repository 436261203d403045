"""A small HTTP client of the users API, for the command line. The standard library's: it starts fastest."""

from __future__ import annotations

import json
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable

TIMEOUT_SECONDS = 10.0
_PAGE_USERS = 1000
_GROUPS = "/v1/groups"


Json = dict[str, Any]


class UsersApiError(RuntimeError):
    """The API refused a call; the text is the API's own."""


class UsersApiUnreachableError(UsersApiError):
    """No answer, or none that the users API gives."""


class UsersApi:
    """The REST face at `url`. Replies are the decoded JSON, empty when there is none."""

    def __init__(self, url: str, admin_token: str = "") -> None:
        self._url = url.rstrip("/")
        self._connection, self._prefix = _dialler(self._url)
        self._headers = {"authorization": f"Bearer {admin_token}".encode()} if admin_token else {}

    def create(self, user: dict[str, object]) -> Json:
        return self._call("POST", "/v1/users", user)

    def read(self, name: str) -> Json:
        return self._call("GET", user_path(name))

    def update(self, name: str, changes: dict[str, object]) -> Json:
        return self._call("PATCH", user_path(name), changes)

    def delete(self, name: str) -> None:
        self._call("DELETE", user_path(name))

    def usage(self, name: str) -> Json:
        return self._call("GET", user_path(name, "usage"))

    def users(self) -> Json:
        """All pages in one."""
        query: dict[str, object] = {"limit": _PAGE_USERS}
        whole: Json = {"object": "list", "data": [], "unreadable": [], "next_after": None}
        while True:
            page = self._call("GET", f"/v1/users?{urlencode(query)}")
            whole["data"] += page["data"]
            whole["unreadable"] += page["unreadable"]
            if page["next_after"] is None:
                return whole
            query["after"] = page["next_after"]

    def create_key(self, name: str, label: str, expires_at: int | None = None) -> Json:
        expiry = {} if expires_at is None else {"expires_at": expires_at}
        return self._call("POST", user_path(name, "keys"), {"label": label, **expiry})

    def expire_key(self, name: str, key_id: str, expires_at: int) -> None:
        self._call("PATCH", user_path(name, "keys", key_id), {"expires_at": expires_at})

    def keys(self, name: str) -> Json:
        return self._call("GET", user_path(name, "keys"))

    def revoke_key(self, name: str, key_id: str) -> None:
        self._call("DELETE", user_path(name, "keys", key_id))

    def create_group(self, group: dict[str, object]) -> Json:
        return self._call("POST", _GROUPS, group)

    def read_group(self, name: str) -> Json:
        return self._call("GET", _group_path(name))

    def update_group(self, name: str, changes: dict[str, object]) -> Json:
        return self._call("PATCH", _group_path(name), changes)

    def delete_group(self, name: str) -> None:
        self._call("DELETE", _group_path(name))

    def groups(self) -> Json:
        return self._call("GET", _GROUPS)

    def used(self, query: dict[str, str]) -> Json:
        """Of the usage ledger."""
        return self._call("GET", f"/v1/usage?{urlencode(query)}")

    def used_csv(self, query: dict[str, str]) -> str:
        """The same as CSV."""
        answer, text = self._ask("GET", f"/v1/usage?{urlencode(query | {'format': 'csv'})}", None)
        if answer.status >= 300:
            self._reply(answer, text)
        return text.decode()

    def _call(self, method: str, path: str, body: dict[str, object] | None = None) -> Json:
        return self._reply(*self._ask(method, path, body))

    def _ask(self, method: str, path: str, body: dict[str, object] | None) -> tuple[HTTPResponse, bytes]:
        content = None if body is None else json.dumps(body).encode()
        headers = self._headers | ({"content-type": b"application/json"} if content else {})
        connection = self._connection()
        try:
            connection.request(method, self._prefix + path, content, headers)
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, HTTPException, ValueError) as error:
            raise UsersApiUnreachableError(
                f"no users API answers at {self._url}: {str(error) or 'time is up'}"
            ) from None
        finally:
            connection.close()
        return answer, text

    def _reply(self, answer: HTTPResponse, text: bytes) -> Json:
        try:
            reply: Json = json.loads(text or "{}")
            if answer.status < 300:
                return reply
            message = str(reply["error"]["message"])
        except (ValueError, KeyError, TypeError):
            what = f"{answer.status} {answer.reason}".strip()
            raise UsersApiUnreachableError(f"{self._url} does not answer as the users API does: {what}") from None
        kind = UsersApiError if answer.status < 500 else UsersApiUnreachableError
        raise kind(f"{answer.status}: {message}")


def user_path(name: str, *below: str) -> str:
    """The path of a user, or of something below; every character of a name may stand in it."""
    # An argument that is not UTF-8 is for the API to refuse.
    return "/".join(["/v1/users", *(quote(part, safe="", errors="surrogateescape") for part in (name, *below))])


def _group_path(name: str) -> str:
    return f"{_GROUPS}/{quote(name, safe='', errors='surrogateescape')}"


def _dialler(url: str) -> tuple[Callable[[], HTTPConnection], str]:
    """What opens a connection to the URL's host, and the URL's path."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or parts.scheme not in ("http", "https"):
        raise UsersApiUnreachableError(f"{url}: not an http:// or https:// address")
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    return partial(kind, host, port, timeout=TIMEOUT_SECONDS), parts.path
