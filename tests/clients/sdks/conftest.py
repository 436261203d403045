"""Where the gateway is, as tests/clients/__main__.py says it."""

from __future__ import annotations

import os

import pytest

URL, MODEL = "GATEWAY_URL", "GATEWAY_MODEL"


@pytest.fixture(scope="session")
def url() -> str:
    return os.environ[URL]


@pytest.fixture(scope="session")
def model() -> str:
    return os.environ[MODEL]


@pytest.fixture(scope="session", params=["", "ann"], ids=["without limits", "with limits"])
def headers(request: pytest.FixtureRequest) -> dict[str, str]:
    return {"user": request.param} if request.param else {}
