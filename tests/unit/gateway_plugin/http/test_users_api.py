"""The users API beyond AIBrix's four calls: `/v1/users`, usage and keys, as a client sees them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from urllib.parse import quote

import httpx
import pytest

from gateway_plugin.http.error_responses import new_app
from gateway_plugin.http.users_aibrix import users_router
from gateway_plugin.http.users_rest import users_rest_router
from ratelimit import Admission, CorruptUserRecord, LimitDefaults, MemoryStore, Settlement, UserRecord, secret_sha256

FULL = {
    "name": "lgy",
    "rpm": 3,
    "tpm": 1000,
    "max_parallel": 2,
    "models": ["a", "org/b"],
    "disabled": True,
    "overrides": {"a": {"rpm": 1, "tpm": 0}},
}
EMPTY = {"name": "lgy", "rpm": 0, "tpm": 0, "max_parallel": 0, "models": [], "disabled": False, "overrides": {}}
# Beyond letters: what paths, routes and templates are made of.
NAMES = [
    "a/b",
    "a/usage",
    "keys",
    "a/keys/b",
    "usage",
    "/",
    "a//b",
    "%2F",
    "100%",
    "a b+c",
    "a?b#c",
    "{name}",
    "Zoë 漢字",
]


class Store(MemoryStore):
    """Has records that cannot be read, as a Redis store may."""

    def __init__(self) -> None:
        super().__init__(lambda: 1767225600.5, LimitDefaults())
        self.corrupt: set[str] = set()

    async def read(self, name: str) -> UserRecord | None:
        if name in self.corrupt:
            raise CorruptUserRecord(f"aibrix-users/{name}")
        return await super().read(name)

    async def update(self, record: UserRecord) -> bool:
        self.corrupt.discard(record.name)
        return await super().update(record)


class Api:
    def __init__(self) -> None:
        self.store = Store()
        app = new_app("test", "test")
        app.include_router(users_router(self.store))
        app.include_router(users_rest_router(self.store, self.store, self.store))
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api")

    async def call(self, method: str, path: str, body: object = None) -> tuple[int, Mapping[str, object]]:
        answer = await self.http.request(method, path, json=body)
        return answer.status_code, answer.json() if answer.content else {}


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    opened = Api()
    yield opened
    await opened.http.aclose()


def error(answer: tuple[int, Mapping[str, object]]) -> tuple[int, object, object]:
    status, body = answer
    inner = body["error"]
    assert isinstance(inner, dict)
    return status, inner["message"], inner["param"]


async def test_the_life_of_a_user(api: Api):
    assert await api.call("POST", "/v1/users", FULL) == (201, FULL)
    assert await api.call("GET", "/v1/users/lgy") == (200, FULL)
    assert await api.call("PATCH", "/v1/users/lgy", {"disabled": False}) == (200, FULL | {"disabled": False})
    assert await api.call("PATCH", "/v1/users/lgy", {}) == (200, FULL | {"disabled": False})
    assert await api.call("PATCH", "/v1/users/lgy", {"models": [], "overrides": {}, "rpm": 7}) == (
        200,
        EMPTY | {"rpm": 7, "tpm": 1000, "max_parallel": 2},
    )
    assert await api.call("PUT", "/v1/users/lgy", {"tpm": 5}) == (200, EMPTY | {"tpm": 5})
    assert await api.store.read("lgy") == UserRecord("lgy", tpm=5)
    assert await api.call("DELETE", "/v1/users/lgy") == (204, {})
    assert error(await api.call("DELETE", "/v1/users/lgy")) == (404, "user lgy does not exist", "name")


async def test_what_is_written_is_the_record(api: Api):
    await api.call("POST", "/v1/users", FULL)
    assert await api.store.read("lgy") == UserRecord("lgy", 3, 1000, 2, ("a", "org/b"), True, {"a": (1, 0)})


async def test_creating_is_atomic(api: Api):
    answers = await asyncio.gather(*(api.call("POST", "/v1/users", {"name": "lgy", "rpm": i}) for i in range(1, 9)))
    (created,) = [body for status, body in answers if status == 201]
    assert [status for status, _ in answers].count(409) == 7
    assert await api.call("GET", "/v1/users/lgy") == (200, created)


async def test_put_creates_and_takes_back_what_get_gave(api: Api):
    assert await api.call("PUT", "/v1/users/lgy", FULL) == (201, FULL)
    _, body = await api.call("GET", "/v1/users/lgy")
    assert await api.call("PUT", "/v1/users/lgy", body) == (200, FULL)
    status, message, param = error(await api.call("PUT", "/v1/users/other", FULL))
    assert (status, message, param) == (409, "the path names user other, and the body another one", "name")
    assert await api.store.read("other") is None


@pytest.mark.parametrize("path", ["/v1/users/x", "/v1/users/x/usage", "/v1/users/x/keys"])
async def test_who_does_not_exist(api: Api, path: str):
    assert error(await api.call("GET", path)) == (404, "user x does not exist", "name")
    if path.endswith("keys"):
        assert error(await api.call("POST", path))[0] == 404
        assert await api.store.keys("x") == []


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"rpm": -1}, "rpm"),
        ({"rpm": "5"}, "rpm"),
        ({"rpm": True}, "rpm"),
        ({"rpm": None}, "rpm"),
        ({"rpm": 2.5}, "rpm"),
        ({"tpm": 2**53}, "tpm"),
        ({"max_parallel": -1}, "max_parallel"),
        ({"models": "a"}, "models"),
        ({"models": [""]}, "models.0"),
        ({"disabled": 1}, "disabled"),
        ({"overrides": {"a": [1, 2]}}, "overrides.a"),
        ({"overrides": {"a": {"rps": 1}}}, "overrides.a.rps"),
        ({"rmp": 5}, "rmp"),
        ({"name": "a\u0001"}, "name"),
        ({"name": ""}, "name"),
    ],
)
async def test_bad_values_are_named(api: Api, body: dict[str, object], param: str):
    assert error(await api.call("POST", "/v1/users", {"name": "lgy"} | body))[::2] == (422, param)
    assert await api.store.names(9) == []


async def test_a_whole_number_may_have_a_point(api: Api):
    status, body = await api.call("POST", "/v1/users", {"name": "lgy", "rpm": 3.0})
    assert (status, body["rpm"]) == (201, 3)


@pytest.mark.parametrize("name", NAMES)
async def test_every_name_can_be_reached(api: Api, name: str):
    path = f"/v1/users/{quote(name, safe='')}"
    assert (await api.call("POST", "/v1/users", {"name": name}))[0] == 201
    for below in ("", "/usage", "/keys"):
        assert (await api.call("GET", path + below))[0] == 200, below
    assert (await api.call("PATCH", path, {"rpm": 1}))[1]["name"] == name
    _, key = await api.call("POST", f"{path}/keys")
    assert await api.call("DELETE", f"{path}/keys/{key['id']}") == (204, {})
    assert await api.call("DELETE", path) == (204, {})


async def test_a_slash_needs_no_encoding_where_it_is_clear(api: Api):
    await api.store.create(UserRecord("a/b"))
    await api.store.create(UserRecord("a/usage"))
    assert (await api.call("GET", "/v1/users/a/b"))[1]["name"] == "a/b"
    assert (await api.call("GET", "/v1/users/a/b/usage"))[1]["user"] == "a/b"
    # This is about user "a", so it must not reach the user of that name.
    answer = await api.http.delete("/v1/users/a/usage")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")
    assert await api.store.read("a/usage") is not None


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v1/users", "GET, POST"),
        ("/v1/users/a", "DELETE, GET, PATCH, PUT"),
        ("/v1/users/a/keys", "GET, POST"),
        ("/v1/users/a/keys/1", "DELETE, PATCH"),
        ("/CreateUser", "POST"),
    ],
)
async def test_other_methods_are_refused_with_those_that_are_not(api: Api, path: str, allowed: str):
    answer = await api.http.options(path)
    assert (answer.status_code, answer.headers["allow"], "error" in answer.json()) == (405, allowed, True)


async def test_bytes_that_are_no_text(api: Api):
    assert (await api.http.get("/v1/users/a%FFb")).status_code == 422
    assert (await api.http.delete("/v1/users/a/keys/%FF")).status_code == 422
    headers = {"content-type": "application/json"}
    for body in (
        rb'{"name": "\ud800"}',
        rb'{"name": "a", "models": ["\ud800"]}',
        rb'{"name": "a", "overrides": {"\ud800": {}}}',
    ):
        assert (await api.http.post("/v1/users", content=body, headers=headers)).status_code == 422
    for body, status in ((b"\xff", 400), (b"{", 422), (rb'{"name": "a", "\ud800": 1}', 422)):
        assert (await api.http.post("/v1/users", content=body, headers=headers)).status_code == status


async def test_pages(api: Api):
    names = [f"u{i:02}" for i in range(25)]
    for name in reversed(names):
        await api.store.create(UserRecord(name))
    found: list[str] = []
    after: object = ""
    while after is not None:
        _, page = await api.call("GET", f"/v1/users?limit=10&after={after}")
        data = page["data"]
        assert isinstance(data, list)
        found += [user["name"] for user in data]
        after = page["next_after"]
    assert found == names
    assert (await api.call("GET", "/v1/users?limit=25"))[1]["next_after"] is None
    assert (await api.call("GET", "/v1/users?limit=0"))[0] == 422
    assert (await api.call("GET", "/v1/users?limit=1001"))[0] == 422


async def test_a_corrupt_record_spoils_no_list_and_can_be_repaired(api: Api):
    for name in ("a", "b", "c"):
        await api.store.create(UserRecord(name))
    api.store.corrupt = {"a", "c"}
    _, page = await api.call("GET", "/v1/users")
    assert (page["data"], page["unreadable"]) == ([EMPTY | {"name": "b"}], ["a", "c"])
    assert (await api.call("GET", "/v1/users/a"))[0] == 500
    assert (await api.call("PUT", "/v1/users/a", {"rpm": 1}))[0] == 200
    assert (await api.call("POST", "/UpdateUser", {"name": "c", "rpm": 1}))[0] == 200
    assert (await api.call("GET", "/v1/users"))[1]["unreadable"] == []


async def test_aibrix_calls_show_three_fields_and_keep_the_others(api: Api):
    await api.call("POST", "/v1/users", FULL)
    three = {"name": "lgy", "rpm": 9, "tpm": 8}
    assert await api.call("POST", "/UpdateUser", three) == (200, {"message": "Updated User: lgy", "user": three})
    assert await api.call("POST", "/ReadUser", {"name": "lgy"}) == (200, {"message": "User: lgy", "user": three})
    assert await api.call("GET", "/v1/users/lgy") == (200, FULL | three)
    assert await api.call("POST", "/DeleteUser", {"name": "lgy"}) == (
        200,
        {"message": "Deleted User: lgy", "user": three},
    )


async def test_usage_after_defaults(api: Api):
    await api.store.create(UserRecord("lgy", max_parallel=2))
    assert api.store.admit(Admission("lgy", "1", tokens=300)).limits is not None
    assert api.store.admit(Admission("lgy", "2", tokens=300)).limits is not None
    await api.store.settle(Settlement("lgy", "1", 150_000, reserved=300))
    assert await api.call("GET", "/v1/users/lgy/usage") == (
        200,
        {
            "user": "lgy",
            "requests": {"limit": 100, "used": 2, "remaining": 98},
            "tokens": {"limit": 100_000, "used": 150_300, "remaining": 0},
            "parallel": {"limit": 2, "used": 1, "remaining": 1},
        },
    )


async def test_without_a_limit_parallel_requests_are_not_counted(api: Api):
    await api.store.create(UserRecord("lgy"))
    api.store.admit(Admission("lgy", "1"))
    _, usage = await api.call("GET", "/v1/users/lgy/usage")
    assert usage["parallel"] == {"limit": None, "used": None, "remaining": None}


async def test_the_life_of_a_key(api: Api):
    await api.store.create(UserRecord("lgy"))
    status, key = await api.call("POST", "/v1/users/lgy/keys", {"label": "notebook"})
    secret = str(key["secret"])
    assert (status, key["label"], secret[:3], len(secret)) == (201, "notebook", "gw-", 46)
    assert await api.store.user_of_key(secret_sha256(secret)) == "lgy"
    shown = {
        "id": key["id"],
        "label": "notebook",
        "prefix": secret[:7],
        "created_at": 1767225600,
        "expires_at": None,
    }
    assert await api.call("GET", "/v1/users/lgy/keys") == (200, {"object": "list", "data": [shown]})
    assert await api.call("DELETE", f"/v1/users/lgy/keys/{key['id']}") == (204, {})
    assert await api.store.user_of_key(secret_sha256(secret)) is None
    assert error(await api.call("DELETE", f"/v1/users/lgy/keys/{key['id']}"))[::2] == (404, "key_id")


async def test_a_key_ends_when_it_is_said(api: Api):
    await api.store.create(UserRecord("lgy"))
    _, key = await api.call("POST", "/v1/users/lgy/keys", {"expires_at": 1767225601})
    sha256 = secret_sha256(str(key["secret"]))
    assert await api.store.user_of_key(sha256) == "lgy"
    path = f"/v1/users/lgy/keys/{key['id']}"
    assert await api.call("PATCH", path, {"expires_at": 1767225600}) == (204, {})
    assert await api.store.user_of_key(sha256) is None
    assert error(await api.call("PATCH", path, {"expires_at": 1767225700}))[::2] == (404, "key_id")
    assert (await api.call("PATCH", path, {"expires_at": -1}))[0] == 422
    assert (await api.call("PATCH", path, {"expires_at": "soon"}))[0] == 422


async def test_keys_are_bounded(api: Api):
    await api.store.create(UserRecord("lgy"))
    answers = [(await api.call("POST", "/v1/users/lgy/keys"))[0] for _ in range(101)]
    assert answers == [201] * 100 + [409]
    assert (await api.call("POST", "/v1/users/lgy/keys", {"label": "a\nb"}))[0] == 422


async def test_no_user_is_made_whom_no_request_could_name(api: Api):
    for name in (" lgy", "lgy\u00a0", "\u2003"):
        for method, path, body in (
            ("POST", "/v1/users", {"name": name}),
            ("POST", "/CreateUser", {"name": name, "rpm": 1, "tpm": 1}),
            ("PUT", f"/v1/users/{name}", {}),
        ):
            assert error(await api.call(method, path, body))[0::2] == (422, "name"), (method, path)
    api.store.put(UserRecord(" old"))
    assert (await api.call("PUT", "/v1/users/ old", {"rpm": 1}))[0] == 200, "what is there can be changed, and removed"
    assert (await api.call("DELETE", "/v1/users/ old"))[0] == 204
