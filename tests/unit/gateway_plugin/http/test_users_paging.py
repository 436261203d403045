"""Pages of users: the keys of the store are walked once for all of them."""

from __future__ import annotations

from fastapi.testclient import TestClient

from gateway_plugin.http.error_responses import new_app
from gateway_plugin.http.users_rest import users_rest_router
from ratelimit import MemoryStore, UserRecord


class Counting(MemoryStore):
    walks = 0

    async def names(self, limit: int) -> list[str]:
        self.walks += 1
        return await super().names(limit)


def test_following_pages_walk_no_keys():
    store = Counting(lambda: 1000.0)
    for number in range(25):
        store.put(UserRecord(f"u{number:02}"))
    app = new_app("test", "")
    app.include_router(users_rest_router(store, store, store))
    with TestClient(app) as client:
        seen: list[str] = []
        after: str | None = ""
        while after is not None:
            page = client.get("/v1/users", params={"limit": 10, "after": after}).json()
            seen += [user["name"] for user in page["data"]]
            after = page["next_after"]
        assert seen == [f"u{number:02}" for number in range(25)]
        assert store.walks == 1
        store.put(UserRecord("u00a"))
        assert [user["name"] for user in client.get("/v1/users", params={"limit": 2}).json()["data"]] == ["u00", "u00a"]
    assert store.walks == 2
