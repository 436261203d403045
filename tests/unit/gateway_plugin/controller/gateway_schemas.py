"""Gateway API's own schemas as an admission check for the fake API server. They lie beside the checkout, or nowhere."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

from tests.fake_kubernetes.resources import Resource

CRDS = Path(__file__).parents[5] / "shared" / "crds"

# The server evaluates these as CEL: what a path of a match may be.
_PATH = re.compile(r"(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|[%][0-9a-fA-F]{2})+")
_NOT_IN_PATHS = ("//", "/./", "/../", "%2f", "%2F", "#")
_MAX_MATCHES = 128


@cache
def _validator(plural: str, version: str) -> Draft202012Validator:
    definition = yaml.safe_load((CRDS / f"{plural}.gateway.networking.k8s.io.yaml").read_text())
    (schema,) = [item["schema"] for item in definition["spec"]["versions"] if item["name"] == version]
    return Draft202012Validator(schema["openAPIV3Schema"])


def admit(resource: Resource, body: dict[str, Any]) -> None:
    """For `Cluster.admission`: fails the test for what a server would refuse."""
    if resource.plural not in {"httproutes", "referencegrants"}:
        return
    errors = [error.message for error in _validator(resource.plural, resource.versions[0]).iter_errors(body)]
    assert not errors, errors
    matches = [match for rule in body["spec"].get("rules", []) for match in rule["matches"]]
    assert len(matches) <= _MAX_MATCHES
    for match in matches:
        if match["path"].get("type") == "RegularExpression":
            re.compile(match["path"]["value"])
            continue
        path = match["path"]["value"]
        assert _PATH.fullmatch(path)
        assert path.startswith("/")
        assert not any(part in path for part in _NOT_IN_PATHS)
        assert not path.endswith(("/..", "/."))
