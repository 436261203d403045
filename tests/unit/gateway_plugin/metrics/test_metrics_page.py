"""The page in parts is the page in one piece; what is gone is not on it."""

from __future__ import annotations

from collections.abc import Iterator
from unittest.mock import patch

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families

from gateway_plugin.metrics import families
from gateway_plugin.metrics.families import Metrics
from gateway_plugin.metrics.metrics_page import page, wants_openmetrics


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
    whole: bytes = openmetrics.generate_latest(metrics.registry)  # type: ignore[no-untyped-call]
    assert await page(metrics.registry, as_openmetrics=True) == whole
    monkeypatch.setattr(families, "PART_CHILDREN", 5)
    assert await page(metrics.registry, as_openmetrics=True) == whole
    monkeypatch.setattr(families, "_TELLS_CREATED", False)
    monkeypatch.setattr(families, "PART_CHILDREN", 10**6)
    whole = generate_latest(metrics.registry)
    monkeypatch.setattr(families, "_TELLS_CREATED", True)
    assert await page(metrics.registry) == whole
    monkeypatch.setattr(families, "PART_CHILDREN", 5)
    assert await page(metrics.registry) == whole


async def test_both_formats_are_read_by_the_librarys_parsers(metrics: Metrics):
    used(metrics, 'a "model"\n with \\ everything')
    plain = (await page(metrics.registry)).decode()
    assert "_created" not in plain
    names = {family.name for family in text_string_to_metric_families(plain)}
    told = (await page(metrics.registry, as_openmetrics=True)).decode()
    assert told.endswith("# EOF\n")
    families_told = openmetrics_parser.text_string_to_metric_families(told)  # type: ignore[no-untyped-call]
    assert {family.name for family in families_told} == names
    assert 'gateway_request_created{model="' in told


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", False),
        ("*/*", False),
        ("text/plain;version=0.0.4", False),
        ("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2", True),
        ("application/openmetrics-text; q=0, text/plain", False),
    ],
)
def test_who_asks_for_openmetrics_gets_it(accept: str, expected: bool):
    assert wants_openmetrics(accept) is expected


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
