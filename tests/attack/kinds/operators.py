"""What is the operators' own, asked for through the gateway: users, keys, aliases, webhooks, explanations, figures."""

from __future__ import annotations

import base64
import re

from tests.attack import http1
from tests.attack.arena import Account, Arena
from tests.attack.attacks import Attack, Findings, over_http1
from tests.attack.http1 import request
from tests.attack.kinds.bodies import JSON, MODEL, chat

KIND = "operators' API"

_CALLS = (
    ("GET", "/v1/users"),
    ("POST", "/v1/users"),
    ("POST", "/CreateUser"),
    ("POST", "/ReadUser"),
    ("POST", "/UpdateUser"),
    ("POST", "/DeleteUser"),
    ("GET", "/v1/webhooks"),
    ("POST", "/v1/webhooks"),
    ("GET", "/v1/registry"),
    ("PUT", "/v1/registry/aliases/evil"),
    ("POST", "/v1/explain"),
    ("GET", "/debug/pods"),
    ("GET", "/readyz"),
    ("GET", "/openapi.json"),
    ("GET", "/docs"),
    ("POST", "/v1/models"),
    ("PUT", "/v1/models/evil"),
    ("PATCH", "/v1/models/m"),
    ("DELETE", "/v1/models/m"),
    ("GET", "/v1/models/secret"),
    ("GET", "/v1/models/../users"),
    ("GET", "/v1/models/..%2fusers"),
    ("GET", "/v1/models/%2e%2e%2fusers"),
    ("GET", "/v1/models/..%2f..%2fv1%2fusers"),
    ("GET", "/v1/models/x/..%5c..%5cusers"),
    ("GET", "/v1/models//users"),
    ("GET", "/v1/models;/users"),
    ("GET", "/v1/models/%00"),
    ("GET", "/v1/models/" + "%2f" * 2000),
    ("GET", "/v1/models?q=secret&limit=1e9"),
    ("GET", "/v1/models?detail=full&label=" + "a=b," * 5000),
)
_SHOWN = re.compile(rb"secret|insider-\d|aliases|\"users\"")
"""What no answer to a client may speak of: other users, and models that the caller may not use."""


def _call(method: str, path: str, insider: bool) -> Attack:
    async def run(arena: Arena) -> Findings:
        account = await arena.account()
        proof = [account.bearer] if insider else [("user", account.name)]
        body = b'{"name":"evil","url":"http://127.0.0.1:1/","events":["*"],"model":"m"}' if method != "GET" else b""
        message = http1.marked(request(method, path, [JSON, MODEL, *proof], body), account.name)
        heard = await http1.talk(arena.port, [message], patience_seconds=5, linger_seconds=0)
        found = [f"reached a pod: {one}" for one in arena.engines.of(account.name)]
        for answer in heard.answers:
            # Whatever is left of a path without its escapes, an insider may list models: those that they may use.
            listed = answer.status == 200 and insider and method == "GET" and path.startswith("/v1/models")
            # 307 is Envoy Gateway: the same path without its escapes, which is asked for and judged anew.
            if answer.status < 400 and answer.status != 307 and not listed:
                found.append(f"answered {answer.status}: {answer.body[:100]!r}")
            if answer.status == 500 or (answer.status < 400 and _SHOWN.search(answer.body)):
                found.append(f"told {answer.status}: {answer.body[:100]!r}")
        return found

    shown = path if len(path) < 60 else f"{path[:40]}...({len(path)})"
    return Attack(KIND, f"{method} {shown} [{'insider' if insider else 'stranger'}]", run)


def _session(name: str, token: str, header: str) -> Attack:
    """A session token that names a pod of another model, in the forms that gateways give out."""

    async def run(arena: Arena) -> Findings:
        address = arena.pod_address("secret")
        encoded = base64.b64encode(address.encode()).decode()

        def pieces(account: Account) -> list[bytes]:
            value = token.format(address=address, encoded=encoded)
            headers = [JSON, account.bearer, (header, value), ("routing-strategy", "session-affinity")]
            return [request(headers=headers, body=chat())]

        return await over_http1(KIND, name, pieces, insider=True).run(arena)

    return Attack(KIND, f"a session at another model's pod: {name} in {header}", run)


ATTACKS = (
    *(_call(method, path, insider) for method, path in _CALLS for insider in (True, False)),
    *(
        _session(name, token, header)
        for name, token in (("its address", "{address}"), ("its address, encoded", "{encoded}"))
        for header in ("x-session-id", "x-aibrix-session-key")
    ),
)
