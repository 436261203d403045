"""The page in parts is the page in one piece; what is gone is not on it."""

from __future__ import annotations

from collections.abc import Iterator
from unittest.mock import patch

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from gateway_plugin.metrics import families
from gateway_plugin.metrics.families import Metrics
from gateway_plugin.metrics.metrics_page import page


@pytest.fixture
def metrics() -> Iterator[Metrics]:
    with patch("time.time", return_value=17.5):
        yield Metrics()


def used(metrics: Metrics, model: str) -> None:
    metrics.requests.labels(model, "random").inc()
    metrics.duration.labels(model).observe(0.1)
    metrics.successes.labels(model, "200").inc()
    metrics.model_in_flight.labels(model).inc()
    metrics.model_in_flight.labels(model).dec()


@pytest.mark.parametrize("models", [0, 1, 4, 5, 6, 21])
async def test_parts_make_the_whole(metrics: Metrics, models: int, monkeypatch: pytest.MonkeyPatch):
    for number in range(models):
        used(metrics, f"m{number}")
    monkeypatch.setattr(families, "PART_CHILDREN", 10**6)
    whole = generate_latest(metrics.registry)
    assert await page(metrics.registry) == whole
    monkeypatch.setattr(families, "PART_CHILDREN", 5)
    assert await page(metrics.registry) == whole


async def test_an_empty_registry_has_an_empty_page():
    assert await page(CollectorRegistry()) == b""


async def test_a_model_that_is_gone_leaves_the_page(metrics: Metrics):
    before = await page(metrics.registry)
    told: list[str] = []
    metrics.forgotten.append(told.append)
    used(metrics, "gone")
    metrics.forget_model("gone")
    assert await page(metrics.registry) == before
    assert told == ["gone"]


async def test_a_model_with_open_exchanges_stays(metrics: Metrics):
    used(metrics, "m")
    metrics.model_in_flight.labels("m").inc()
    metrics.forget_model("m")
    metrics.model_in_flight.labels("m").dec()
    assert metrics.in_flight_by_model() == {"m": 0}
    assert b'gateway_request_total{model="m",strategy="random"} 1.0' in await page(metrics.registry)
