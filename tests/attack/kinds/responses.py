"""Responses that engines keep: ids forged to reach another pod, another user's response, or to overwrite it."""

from __future__ import annotations

import json

from gateway_plugin.openai.response_ids import owner_tag
from routing.strategies.session_affinity import token_of
from tests.attack import http1
from tests.attack.arena import Account, Arena
from tests.attack.attacks import Attack, Findings, over_http1
from tests.attack.http1 import request
from tests.attack.kinds.bodies import JSON, MODEL

KIND = "responses"
_UNIQUE = "0123456789abcdef"


def _forged(
    name: str, method: str, path: str, *headers: tuple[str, str], owner: str = "", model: str = "secret"
) -> Attack:
    """`{id}` in the path is an id at a pod of `model`, owned by `owner` or by whoever asks."""

    async def run(arena: Arena) -> Findings:
        address = arena.pod_address(model)

        def pieces(account: Account) -> list[bytes]:
            forged = f"resp_{token_of(address)}{owner_tag(owner or account.name)}{_UNIQUE}"
            return [request(method, path.format(id=forged), [JSON, account.bearer, *headers])]

        return await over_http1(KIND, name, pieces, insider=True).run(arena)

    return Attack(KIND, name, run)


def _continued(name: str, body_model: str, *headers: tuple[str, str], owner: str = "", model: str = "secret") -> Attack:
    """The same in `previous_response_id`."""

    async def run(arena: Arena) -> Findings:
        address = arena.pod_address(model)

        def pieces(account: Account) -> list[bytes]:
            forged = f"resp_{token_of(address)}{owner_tag(owner or account.name)}{_UNIQUE}"
            body = json.dumps({"model": body_model, "input": "hi", "previous_response_id": forged}).encode()
            return [request("POST", "/v1/responses", [JSON, account.bearer, *headers], body)]

        return await over_http1(KIND, name, pieces, insider=True).run(arena)

    return Attack(KIND, name, run)


def _of_another(name: str, method: str, path: str) -> Attack:
    """A response of somebody else: no engine may be asked for it."""

    async def run(arena: Arena) -> Findings:
        victim, account = await arena.account(), await arena.account()
        forged = f"resp_{token_of(arena.pod_address('m'))}{owner_tag(victim.name)}{_UNIQUE}"
        body = json.dumps({"model": "m", "input": "hi", "previous_response_id": forged}).encode()
        sent = body if method == "POST" and not path.endswith("cancel") else b""
        message = request(method, path.format(id=forged), [JSON, MODEL, account.bearer], sent)
        heard = await http1.talk(
            arena.port, [http1.marked(message, account.name)], patience_seconds=5, linger_seconds=0
        )
        found = [f"an engine was asked for it: {one}" for one in arena.engines.of(account.name)]
        return found + [f"answered {status}" for status in heard.statuses if status < 400]

    return Attack(KIND, name, run)


def _named_by_the_client(name: str, members: str) -> Attack:
    """A name chosen by the client might be another user's: the engine must see the gateway's, whichever it obeys."""

    async def run(arena: Arena) -> Findings:
        account = await arena.account()
        body = f'{{"model":"m",{members},"input":"hi"}}'.encode()
        message = http1.marked(request("POST", "/v1/responses", [JSON, account.bearer], body), account.name)
        await http1.talk(arena.port, [message], patience_seconds=5, linger_seconds=0)
        found = []
        for one in arena.engines.of(account.name):
            pairs = json.loads(one.body, object_pairs_hook=list)
            found += [f"{value!r} at the engine" for key, value in pairs if key == "request_id" and "own" in str(value)]
            if not any(key == "request_id" for key, _ in pairs):
                found.append("the engine was told no name")
        return found

    return Attack(KIND, f"a name of the client's own: {name}", run)


ATTACKS = (
    _forged("GET at another model's pod", "GET", "/v1/responses/{id}"),
    _forged("GET at another model's pod, with a model", "GET", "/v1/responses/{id}", MODEL),
    _forged("DELETE at another model's pod", "DELETE", "/v1/responses/{id}", MODEL),
    _forged("cancel at another model's pod", "POST", "/v1/responses/{id}/cancel", MODEL),
    _forged("GET, with that model", "GET", "/v1/responses/{id}", ("model", "secret")),
    _forged("GET with target-pod", "GET", "/v1/responses/{id}", ("target-pod", "127.0.0.1:1")),
    _forged("GET in upper case", "GET", "/v1/responses/{id}?RESP_", MODEL),
    _forged("GET with more behind", "GET", "/v1/responses/{id}%2fx", MODEL),
    _continued("continued at another model's pod", "m"),
    _continued("continued, asking for that model", "secret"),
    _continued("continued, asking for it in the header", "m", ("model", "secret")),
    _of_another("another's, GET", "GET", "/v1/responses/{id}"),
    _of_another("another's, DELETE", "DELETE", "/v1/responses/{id}"),
    _of_another("another's, cancel", "POST", "/v1/responses/{id}/cancel"),
    _of_another("another's, continued", "POST", "/v1/responses"),
    _named_by_the_client("plain", '"request_id":"own"'),
    _named_by_the_client("twice", '"request_id":"own1","request_id":"own2"'),
    _named_by_the_client("escaped", '"request\\u005fid":"own"'),
    _named_by_the_client("escaped, and plain", '"request_id":"own1","request\\u005fid":"own2"'),
    _named_by_the_client("null, then one", '"request_id":null,"request_id":"own"'),
    _named_by_the_client("a number", '"request_id":1,"x":{"request_id":"own-inside"}'),
    _named_by_the_client("a list", '"request_id":["own"]'),
    _named_by_the_client("behind the rest", '"x":[{"request_id":"own-inside"}],"request_id":"own"'),
)
