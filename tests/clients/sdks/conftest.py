"""Where the gateway and an engine are, as tests/clients/__main__.py says it, and who asks them."""

from __future__ import annotations

import json
import os
import time
import urllib.request
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

URL, MODEL, ENGINE_URL, API_URL, KEY = "GATEWAY_URL", "GATEWAY_MODEL", "ENGINE_URL", "GATEWAY_API_URL", "GATEWAY_KEY"


class Caller(NamedTuple):
    """Who asks whom."""

    url: str
    key: str = "none"
    headers: dict[str, str] = {}  # noqa: RUF012 a default that nobody changes
    is_limited: bool = False


@pytest.fixture(scope="session")
def model() -> str:
    return os.environ[MODEL]


@pytest.fixture(scope="session", params=["engine", "without limits", "with limits", "with a key"])
def caller(request: pytest.FixtureRequest) -> Caller:
    """The engine itself comes first: what raises there may raise with the gateway."""
    url, key = os.environ[URL], os.environ[KEY]
    if request.param == "with a key" and not key:
        pytest.skip("this gateway takes no keys")
    callers = {
        "engine": Caller(os.environ[ENGINE_URL]),
        "without limits": Caller(url),
        "with limits": Caller(url, headers={"user": "ann"}, is_limited=True),
        "with a key": Caller(url, key, is_limited=True),
    }
    return callers[request.param]


@pytest.fixture(scope="session")
def keys_url() -> str:
    """A gateway that takes keys."""
    if not os.environ[KEY]:
        pytest.skip("this gateway takes no keys")
    return os.environ[URL]


@dataclass
class Poor:
    """A user of one request a minute, who gets more as soon as somebody sleeps: nobody waits for the next minute."""

    url: str
    headers: dict[str, str]
    slept_seconds: list[float] = field(default_factory=list)
    told_seconds: list[float] = field(default_factory=list)

    @property
    def event_hooks(self) -> dict[str, list[Callable[[Any], None]]]:
        """For an SDK's HTTP client: notes what refusals tell."""
        return {"response": [self._note]}

    def sleep(self, seconds: float) -> None:
        self.slept_seconds.append(seconds)
        _post("UpdateUser", {"name": self.headers["user"], "rpm": 1000, "tpm": 100_000})

    def assert_waited_as_told(self) -> None:
        """Once, and for as long as the refusal says."""
        assert self.slept_seconds == self.told_seconds
        assert len(self.told_seconds) == 1
        assert 0 < self.told_seconds[0] < 60

    def _note(self, response: Any) -> None:
        if response.status_code == 429:
            self.told_seconds.append(int(response.headers["retry-after-ms"]) / 1000)


@pytest.fixture
def poor(monkeypatch: pytest.MonkeyPatch) -> Poor:
    user = f"poor-{uuid.uuid4().hex}"
    _post("CreateUser", {"name": user, "rpm": 1, "tpm": 100_000})
    poor = Poor(os.environ[URL], {"user": user})
    monkeypatch.setattr(time, "sleep", poor.sleep)
    return poor


def _post(path: str, body: dict[str, Any]) -> None:
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(f"{os.environ[API_URL]}/{path}", json.dumps(body).encode(), headers)
    urllib.request.urlopen(request, timeout=10).close()
