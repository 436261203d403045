"""Who asks: guessed keys, names that are tried out, proofs in the wrong place, and names that stand for nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from tests.attack import http1
from tests.attack.arena import TRUSTED_HEADER, Account, Arena
from tests.attack.attacks import Attack, Findings, over_http1
from tests.attack.http1 import Answer, request
from tests.attack.kinds.bodies import JSON, MODEL, chat

KIND = "identity"
TRUSTED_KIND = "identity, user header trusted"

Headers = Callable[[Account], Sequence[tuple[str, str]]]


def _stranger(name: str, headers: Headers, path: str = "/v1/chat/completions") -> Attack:
    """No valid key in the place where one belongs: no pod may see it."""

    def pieces(account: Account) -> list[bytes]:
        return [request("POST", path, [JSON, MODEL, *headers(account)], chat())]

    return over_http1(KIND, name, pieces, insider=False)


def _bearer(value: str) -> tuple[str, str]:
    return ("authorization", value)


_PROOFS: tuple[tuple[str, Headers], ...] = (
    ("nothing", lambda _: []),
    ("a user's name", lambda account: [("user", account.name)]),
    ("an anonymous name", lambda _: [("user", "anonymous/127.0.0.1")]),
    ("an empty user", lambda _: [("user", "")]),
    ("an unknown key", lambda _: [_bearer("Bearer gw-" + "A" * 43)]),
    ("an unknown key and a user", lambda account: [_bearer("Bearer gw-unknown"), ("user", account.name)]),
    ("another kind of key", lambda account: [_bearer("Bearer sk-123"), ("user", account.name)]),
    ("an empty bearer", lambda account: [_bearer("Bearer "), ("user", account.name)]),
    ("basic", lambda account: [_bearer("Basic dXNlcjpwYXNz"), ("user", account.name)]),
    ("the prefix of a key", lambda account: [_bearer(f"Bearer {account.key[:-1]}")]),
    ("a key and more", lambda account: [_bearer(f"Bearer {account.key}x")]),
    ("a key in other case", lambda account: [_bearer(f"Bearer {account.key.swapcase()}")]),
    ("a key in the user header", lambda account: [("user", account.key)]),
    ("a key in a cookie", lambda account: [("cookie", f"authorization=Bearer {account.key}")]),
    ("a key in x-forwarded-user", lambda account: [("x-forwarded-user", account.name), ("x-user", account.name)]),
    ("a certificate header", lambda account: [("x-forwarded-client-cert", f"By=a;Subject={account.name}")]),
    ("an internal source", lambda account: [("x-forwarded-for", "127.0.0.1"), ("user", account.name)]),
    ("a metadata header", lambda account: [("x-gateway-user", account.name), ("x-aibrix-user", account.name)]),
    ("a wrong key, then a right one", lambda account: [_bearer("Bearer gw-unknown"), account.bearer]),
    ("a right key, then a wrong one", lambda account: [account.bearer, _bearer("Bearer gw-unknown")]),
    ("two keys in a list", lambda account: [_bearer(f"Bearer gw-unknown, Bearer {account.key}")]),
)


def _in_the_query(name: str) -> Attack:
    def pieces(account: Account) -> list[bytes]:
        return [request("POST", f"/v1/chat/completions?{name}={account.key}", [JSON, MODEL], chat())]

    return over_http1(KIND, f"a key in the query, as {name}", pieces, insider=False)


async def _ask(
    arena: Arena, headers: Sequence[tuple[str, str]], path: str = "/v1/chat/completions", mark: str = "asked"
) -> Answer | None:
    message = http1.marked(request("POST", path, [JSON, *headers], chat()), mark)
    heard = await http1.talk(arena.port, [message], patience_seconds=5, linger_seconds=0)
    return heard.answers[0] if heard.answers else None


def _told(answer: Answer | None) -> object:
    """All that an answer tells; ids and times are different each time."""
    if answer is None:
        return None
    passing = ("date", "x-request-id", "request-id", "x-envoy-upstream-service-time")
    return answer.status, answer.body, sorted(item for item in answer.headers.items() if item[0] not in passing)


def _told_apart(name: str, path: str = "/v1/chat/completions") -> Attack:
    """A stranger tries names: the answer for a user who exists must be the answer for one who does not."""

    async def run(arena: Arena) -> Findings:
        known, disabled, spent = await asyncio.gather(
            arena.account(), arena.account(disabled=True), arena.account(rpm=1)
        )
        await _ask(arena, [spent.bearer])
        await _ask(arena, [spent.bearer])
        strangers: list[list[tuple[str, str]]] = [
            [],
            [("user", known.name)],
            [("user", disabled.name)],
            [("user", spent.name)],
            [("user", "nobody")],
            [("user", "a" * 5000)],
            [("user", "anonymous/1.2.3.4")],
            [_bearer("Bearer gw-unknown")],
            [_bearer("Bearer gw-unknown"), ("user", known.name)],
            [_bearer("Bearer gw-unknown"), ("user", "nobody")],
            [_bearer("Bearer sk-1")],
            [_bearer("Basic x")],
            [MODEL, _bearer("Bearer gw-unknown")],
            [("model", "nothing"), _bearer("Bearer gw-unknown")],
        ]
        answers = [_told(await _ask(arena, headers, path)) for headers in strangers]
        different = [headers for headers, told in zip(strangers, answers, strict=True) if told != answers[0]]
        found = [f"strangers are told apart: {different}"] if different else []
        first = answers[0]
        if not isinstance(first, tuple) or first[0] != 401:
            found.append(f"a stranger was answered {first}"[:200])
        return found

    return Attack(KIND, f"users are told apart at {name}", run)


def _revoked() -> Attack:
    """A key that was revoked is a stranger's within seconds; a disabled user is out."""

    async def run(arena: Arena) -> Findings:
        account = await arena.account()
        users = f"{arena.chain.api_url}/v1/users/{account.name}"
        (key,) = (await arena.http.get(f"{users}/keys")).json()["data"]
        first = await _ask(arena, [account.bearer])
        await arena.http.delete(f"{users}/keys/{key['id']}")
        await asyncio.sleep(5.5)  # an owner is believed for so long
        second = await _ask(arena, [account.bearer])
        statuses = [answer.status if answer else 0 for answer in (first, second)]
        return [] if statuses == [200, 401] else [f"answers before and after revoking: {statuses}"]

    return Attack(KIND, "a revoked key", run)


def _named_anonymous(count: int) -> Attack:
    """`anonymous/x` has limits of its own, once for every invented x."""

    async def run(arena: Arena) -> Findings:
        mark = f"invented names, {count}"
        for number in range(count):
            await _ask(arena, [("user", f"anonymous/{number}")], mark=mark)
        passed = len(arena.engines.of(mark))
        allowed = int(TRUSTED_HEADER["GATEWAY_ANONYMOUS_RPM"])
        return [f"{passed} requests by invented names, {allowed} allowed"] if passed > allowed else []

    return Attack(TRUSTED_KIND, f"{count} names of the form anonymous/x", run)


def _forged_source(name: str, header: str, value: str) -> Attack:
    """The anonymous are limited by where they come from, and not by what they say of it."""

    async def run(arena: Arena) -> Findings:
        mark = f"forged source, {name}"
        for number in range(12):
            await _ask(arena, [(header, value.format(number))], mark=mark)
        passed = len(arena.engines.of(mark))
        allowed = int(TRUSTED_HEADER["GATEWAY_ANONYMOUS_RPM"])
        return [f"{passed} requests from one source, {allowed} allowed"] if passed > allowed else []

    return Attack(TRUSTED_KIND, f"a forged source in {name}", run)


def _anonymous_created() -> Attack:
    """Nobody can be created who would be taken for an anonymous source."""

    async def run(arena: Arena) -> Findings:
        url, mark = f"{arena.chain.api_url}/v1/users", "a created source"
        await arena.http.post(url, json={"name": "anonymous/127.0.0.1", "rpm": 1_000_000, "tpm": 1_000_000})
        for _ in range(12):
            await _ask(arena, [], mark=mark)
        passed = len(arena.engines.of(mark))
        allowed = int(TRUSTED_HEADER["GATEWAY_ANONYMOUS_RPM"])
        return [f"{passed} anonymous requests, {allowed} allowed"] if passed > allowed else []

    return Attack(TRUSTED_KIND, "a created user named as an anonymous source", run)


ATTACKS = (
    *(_stranger(f"proof: {name}", headers) for name, headers in _PROOFS),
    *(_stranger(f"proof at /v1/embeddings: {name}", headers, "/v1/embeddings") for name, headers in _PROOFS[:6]),
    *(_in_the_query(name) for name in ("api_key", "key", "access_token", "authorization", "user")),
    _told_apart("an endpoint"),
    _told_apart("another endpoint", "/v1/embeddings"),
    _told_apart("an unknown path", "/v1/models/m"),
    _revoked(),
)
TRUSTED_ATTACKS = (
    _named_anonymous(15),
    _forged_source("x-forwarded-for", "x-forwarded-for", "10.0.0.{}"),
    _forged_source("forwarded", "forwarded", "for=10.0.0.{}"),
    _forged_source("x-real-ip", "x-real-ip", "10.0.0.{}"),
    _forged_source("x-envoy-external-address", "x-envoy-external-address", "10.0.0.{}"),
    _anonymous_created(),
)
