"""Wrong values stop `helm install`, and say which one."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import pytest
import yaml

from deploy.manifests import chart
from deploy.manifests.paths import CHART
from deploy.manifests.tools import INSTALL, ToolError, installed

VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA = json.loads((CHART / "values.schema.json").read_text())


def test_the_defaults_are_allowed():
    jsonschema_rs.validate(SCHEMA, VALUES)


def test_every_value_is_described():
    def described(values: dict[str, Any], schema: dict[str, Any], path: str) -> None:
        assert schema.get("additionalProperties") is False, path
        assert values.keys() <= schema["properties"].keys(), path
        for name, value in values.items():
            inner = schema["properties"][name]
            if isinstance(value, dict) and "properties" in inner and name != "settings":
                described(value, inner, f"{path}.{name}")

    described(VALUES, SCHEMA, "values")


@pytest.mark.skipif(not installed("helm"), reason=f"helm is not on PATH; {INSTALL['helm']}")
@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("gateway.failopen=true", "failopen"),
        ("gateway.serviceType=Node", "serviceType"),
        ("gateway.messageTimeout=soon", "messageTimeout"),
        ("gateway.bufferLimit=128Mi", "grpc_max_message_bytes must be at least 135266304"),
        ("gateway.bufferLimit=64Ki", "bufferLimit"),
        ("plugin.replicas=0", "replicas"),
        ("plugin.settings.accounting=lua", "accounting"),
        ("redis.enabled=false", "redis.external.host is needed"),
        ("gateway.trustedHops=-1", "trustedHops"),
        ("plugin.settings.trusted_hops=1", "set gateway.trustedHops"),
    ],
)
def test_a_mistake_stops_the_installation(value: str, said: str):
    with pytest.raises(ToolError, match="helm failed") as failure:
        chart.objects(value)
    assert said in str(failure.value)


@pytest.mark.skipif(not installed("helm"), reason=f"helm is not on PATH; {INSTALL['helm']}")
def test_a_deadline_for_the_first_byte_is_one_per_try():
    def retry(*values: str) -> Any:
        (policy,) = (found for found in chart.objects(*values) if found["kind"] == "BackendTrafficPolicy")
        return policy["spec"]["retry"]

    assert "timeout" not in retry()["perRetry"]
    assert "gateway-error" not in retry()["retryOn"]["triggers"]
    bounded = retry("gateway.firstByteTimeout=60s")
    assert bounded["perRetry"] == {"backOff": {"baseInterval": "5ms"}, "timeout": "60s"}
    assert bounded["retryOn"]["triggers"][-1] == "gateway-error"


@pytest.mark.skipif(not installed("helm"), reason=f"helm is not on PATH; {INSTALL['helm']}")
def test_envoy_and_the_plugin_count_proxies_alike():
    """Envoy Gateway counts the client itself among the hops, and does not append the last proxy to the header."""

    def told(*values: str) -> tuple[Any, Any]:
        found = chart.objects(*values)
        (policy,) = (one for one in found if one["kind"] == "ClientTrafficPolicy")
        (plugin,) = (
            one for one in found if one["kind"] == "Deployment" and one["metadata"]["name"] == "gateway-plugin"
        )
        environment = {
            one["name"]: one.get("value") for one in plugin["spec"]["template"]["spec"]["containers"][0]["env"]
        }
        return policy["spec"].get("clientIPDetection"), environment.get("GATEWAY_TRUSTED_HOPS")

    assert told() == (None, None)
    assert told("gateway.trustedHops=2") == ({"xForwardedFor": {"numTrustedHops": 2}}, "1")
