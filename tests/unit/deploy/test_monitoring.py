"""Rules and dashboards: each metric and label that they ask for is one of ours; each alert has its section."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway_plugin.cli.metrics_docs import Told, all_families
from gateway_plugin.metrics.families import Metrics
from gateway_plugin.metrics.metrics_page import page

ROOT = Path(__file__).parents[3]
RULES = ROOT / "deploy" / "prometheus" / "rules.yaml"
DASHBOARDS = sorted((ROOT / "deploy" / "grafana").glob("*.json"))
NAME = re.compile(r"\b(?:gateway|process|gen_ai)_[a-z0-9_]+\b")
RECORDED = re.compile(r"\bgateway:[a-z0-9_:]+")
SELECTOR = re.compile(r"\b((?:gateway|process)_[a-z0-9_]+)\{([^}]*)\}")
OF_SCRAPES = {"instance", "le"}
"""Labels that Prometheus and histograms add."""


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def queries() -> Iterator[tuple[str, str]]:
    """Where each stands, and its text."""
    for rule in rules():
        yield rule.get("alert") or rule["record"], rule["expr"]
    for path in DASHBOARDS:
        board = json.loads(path.read_text())
        for panel in board["panels"]:
            for target in panel["targets"]:
                yield f"{path.name}: {panel['title']}", target["expr"]
        for variable in board["templating"]["list"]:
            if variable["type"] == "query":
                yield f"{path.name}: ${variable['name']}", variable["query"]


@pytest.fixture
async def told() -> dict[str, Told]:
    """By every name under which a family's series go."""
    found: dict[str, Told] = {}
    for one in await all_families():
        names = (
            [f"{one.name}{part}" for part in ("_bucket", "_count", "_sum")] if one.kind == "histogram" else [one.name]
        )
        found |= dict.fromkeys(names, one)
    return found


async def test_every_query_asks_for_metrics_and_labels_that_there_are(told: dict[str, Told]):
    asked = list(queries())
    assert len(asked) > 60
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    for where, text in asked:
        names = [name for name in NAME.findall(text) if name not in _labels(text)]
        assert names or RECORDED.search(text), where
        assert not [name for name in names if name not in told], where
        assert set(RECORDED.findall(text)) <= recorded, where
        known = OF_SCRAPES.union(*(told[name].labels for name in names))
        if names:
            assert _labels(text) <= known, (where, _labels(text) - known)
        for name, selected in SELECTOR.findall(text):
            assert set(re.findall(r"(\w+)\s*[=!]", selected)) <= OF_SCRAPES | set(told[name].labels), where


async def test_the_objective_for_first_tokens_is_a_bound_of_the_histogram():
    metrics = Metrics()
    metrics.ttft.labels("m").observe(1.0)
    bounds = set(
        re.findall(
            r'gateway_ttft_seconds_bucket\{.*le="([^"]+)"',
            (await page(metrics.registry, as_openmetrics=False)).decode(),
        )
    )
    wanted = {bound for rule in rules() for bound in re.findall(r'le=~"([^"]+)"', rule["expr"])}
    assert len(wanted) == 1
    assert bounds & set(wanted.pop().split("|"))


def test_every_alert_has_a_section_of_the_runbook_and_a_severity():
    alerts = {rule["alert"]: rule for rule in rules() if "alert" in rule}
    sections = re.findall(r"^## (\w+)$", (ROOT / "docs" / "runbook.md").read_text(), re.MULTILINE)
    assert sections == list(alerts)
    for name, rule in alerts.items():
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["runbook"] == f"docs/runbook.md#{name.lower()}"


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_panels_lie_beside_each_other_and_ask_the_chosen_source(path: Path):
    board = json.loads(path.read_text())
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) >= 8
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}
    assert len(places) == len(panels)
    assert {panel["datasource"]["uid"] for panel in panels} == {"${source}"}


@pytest.mark.parametrize("argv", [["check", "rules", "rules.yaml"], ["test", "rules", "rules.test.yaml"]], ids=" ".join)
def test_promtool_agrees(argv: list[str]):
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not here: the rules were NOT evaluated")
    done = subprocess.run([promtool, *argv], cwd=RULES.parent, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _labels(text: str) -> set[str]:
    grouped = re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", text)
    return {name.strip() for group in grouped for name in group.split(",") if name.strip()}
