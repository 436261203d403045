"""CPU and memory as targets mean them; what is not told is missing."""

from __future__ import annotations

from typing import Any

import pytest

from gateway_plugin.controller.autoscaling.resource_usage import quantity, values_of
from tests.unit.gateway_plugin.controller.autoscaling.autoscaled_cluster import AutoscaledCluster, autoscaler


@pytest.mark.parametrize(
    ("text", "value"), [("250m", 0.25), ("2", 2.0), ("1500000n", 0.0015), ("128Mi", 2.0**27), ("1e3", 1e3), ("4k", 4e3)]
)
def test_quantities(text: str, value: float):
    assert quantity(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "five", "1Qi", "m"])
def test_what_is_no_quantity(text: str):
    with pytest.raises(ValueError, match=r"quantity|could not convert"):
        quantity(text)


def usage(name: str, **used: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "containers": [{"name": "engine", "usage": used}]}


def pod(name: str, **requests: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"containers": [{"resources": {"requests": requests}}]}}


def test_percent_of_what_is_requested_and_mebibytes():
    pods = [pod("a", cpu="2"), pod("b"), pod("c", cpu="1")]
    usages = [usage("a", cpu="500m", memory="64Mi"), usage("b", cpu="1", memory="32Mi")]
    assert values_of("cpu", pods, usages) == {"a": 25.0}
    assert values_of("memory", pods, usages) == {"a": 64.0, "b": 32.0}


class MeasuredCluster(AutoscaledCluster):
    """Every pod requests one CPU and uses `cpu` of it; None: there is no metrics server."""

    cpu: str | None = "900m"

    async def usages(self, namespace: str, selector: str) -> list[Any]:
        return [usage(f"p{number}", cpu=self.cpu) for number in range(self.replicas)] if self.cpu else []

    def _pod(self, number: int) -> Any:
        return {**super()._pod(number), "spec": pod("", cpu="1")["spec"]}


def cpu_autoscaler() -> dict[str, Any]:
    source = {"metricSourceType": "resource", "targetMetric": "cpu", "targetValue": "50"}
    return autoscaler("HPA", metricsSources=[source])


async def test_cpu_scales_by_kubernetes_formula_and_no_metrics_server_changes_nothing():
    cluster = MeasuredCluster(cpu_autoscaler())
    assert await cluster.look() == 4
    cluster = MeasuredCluster(cpu_autoscaler())
    cluster.cpu = None
    assert await cluster.look() == 2
    assert cluster.condition("ScalingActive") == ("False", "NoMetrics")


async def test_a_resource_that_nobody_measures_is_said():
    source = {"metricSourceType": "resource", "targetMetric": "gpu", "targetValue": "50"}
    cluster = MeasuredCluster(autoscaler("HPA", metricsSources=[source]))
    await cluster.look()
    assert cluster.condition("ValidSpec") == ("False", "MetricsConfigError")
