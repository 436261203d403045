"""The samples mean what their comments say, and have no field that the kinds do not have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway_plugin.controller.adapters.adapter_spec import read_adapter_spec
from gateway_plugin.controller.autoscaling.followed_autoscaler import followed
from orchestration.scaling.apa import Apa
from orchestration.scaling.gateway_strategy import GatewayStrategy
from orchestration.scaling.hpa import Hpa
from orchestration.scaling.kpa import Kpa

ROOT = Path(__file__).parents[4]
SAMPLES = ROOT / "deploy/samples"
CRDS = ROOT / "deploy/helm/gateway-plugin-crds/templates"


def sample(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((SAMPLES / f"{name}.yaml").read_text()))


def schema(kind: str) -> Any:
    for path in CRDS.glob("*.yaml"):
        text = "\n".join(line for line in path.read_text().splitlines() if not line.startswith("{{"))
        crd = yaml.safe_load(text)
        if crd["spec"]["names"]["kind"] == kind:
            return crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    raise AssertionError(kind)


def unknown(value: Any, kind: Any, path: str = "spec") -> list[str]:
    """Fields that strict validation would refuse, and values that no enumeration has."""
    if isinstance(value, dict):
        if "additionalProperties" in kind:
            return []
        own = kind.get("properties", {})
        lost = [f"{path}.{key}" for key in value if key not in own]
        return lost + [name for key in value if key in own for name in unknown(value[key], own[key], f"{path}.{key}")]
    if isinstance(value, list):
        return [name for one in value for name in unknown(one, kind["items"], f"{path}[]")]
    return [f"{path}={value}"] if "enum" in kind and value not in kind["enum"] else []


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_no_sample_has_a_field_that_its_kind_has_not(path: Path):
    for body in yaml.safe_load_all(path.read_text()):
        if body["kind"] in ("ModelAdapter", "PodAutoscaler"):
            assert unknown(body["spec"], schema(body["kind"])) == []


@pytest.mark.parametrize("kind", [Hpa, Kpa, Apa])
def test_the_autoscalers_of_users_of_aibrix(kind: type):
    one = followed(sample(f"pod-autoscaler-{kind.__name__.lower()}"))
    (strategy,) = one.autoscaler.strategies
    assert isinstance(strategy, kind)
    assert strategy.target == 0.5  # type: ignore[attr-defined]  # of each of them
    if isinstance(strategy, Kpa):
        assert (strategy.options.scale_down_delay_seconds, strategy.options.panic_threshold) == (1800, 2)
    if isinstance(strategy, Apa):
        options = strategy.options
        assert (options.up_tolerance, options.down_tolerance, options.window_seconds) == (0.1, 0.2, 30)
    assert all("UnknownAnnotation" not in note for note in one.notes)


def test_the_gateways_own():
    one = followed(sample("pod-autoscaler-gateway"))
    (strategy,) = one.autoscaler.strategies
    assert isinstance(strategy, GatewayStrategy)
    assert (strategy.target_seconds, strategy.options.ready_for) == (3.0, 0.9)
    assert one.notes == ()


def test_the_adapter():
    spec = read_adapter_spec(sample("model-adapter"))
    assert spec.artifact.engine_path == "ai-blond/Qwen-Qwen2.5-Coder-1.5B-Instruct-lora"
    assert spec.replicas is None
