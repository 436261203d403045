"""Documents of AIBrix's users against our CRDs, as `kubectl apply` checks them: no field that is not in the schema."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from gateway_plugin.controller.adapters.adapter_spec import read_adapter_spec
from gateway_plugin.controller.autoscaling.followed_autoscaler import followed
from orchestration.fleets.fleet_spec import read_fleet
from orchestration.kvcache.cache_spec import read_cache

ROOT = Path(__file__).parents[3]
CHART = ROOT / "deploy/helm/gateway-plugin-crds/templates"
DOCUMENTS = list(yaml.safe_load_all((ROOT / "tests/seed/documents.yaml").read_text()))
READERS = {
    "ModelAdapter": read_adapter_spec,
    "PodAutoscaler": followed,
    "RayClusterFleet": read_fleet,
    "KVCache": read_cache,
}


def schemas() -> dict[str, dict[str, Any]]:
    """By kind; the templates are plain but for one condition around each."""
    found = {}
    for path in CHART.glob("*.yaml"):
        text = "\n".join(line for line in path.read_text().splitlines() if "{{-" not in line)
        crd = yaml.safe_load(text)
        (version,) = crd["spec"]["versions"]
        found[crd["spec"]["names"]["kind"]] = version["schema"]["openAPIV3Schema"]
    return found


def strict(schema: dict[str, Any]) -> dict[str, Any]:
    """As JSON Schema that refuses unknown fields, where the CRD would prune them."""
    found = {key: value for key, value in schema.items() if not key.startswith("x-kubernetes")}
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        return {"type": "object"}
    if "properties" in found:
        found["properties"] = {name: strict(one) for name, one in found["properties"].items()}
        found.setdefault("additionalProperties", False)
    for key in ("items", "additionalProperties"):
        if isinstance(found.get(key), dict):
            found[key] = strict(found[key])
    return found


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda one: f"{one['kind']}-{one['metadata']['name']}")
def test_it_is_taken_as_it_is(document: dict[str, Any]):
    schema = strict(schemas()[document["kind"]])
    schema["properties"]["metadata"] = {"type": "object"}
    jsonschema.validate(document, schema)
    READERS[document["kind"]](document)


def test_a_typo_is_refused():
    schema = strict(schemas()["RayClusterFleet"])
    schema["properties"]["metadata"] = {"type": "object"}
    fleet = next(one for one in DOCUMENTS if one["kind"] == "RayClusterFleet")
    with pytest.raises(jsonschema.ValidationError, match="replica"):
        jsonschema.validate(fleet | {"spec": fleet["spec"] | {"replica": 2}}, schema)


def test_all_kinds_together_fit_an_annotation():
    """Client-side apply writes the object into an annotation of at most 262,144 bytes."""
    assert sum(path.stat().st_size for path in CHART.glob("*.yaml")) < 40_000
