"""Checks an object against the schema of its CustomResourceDefinition, as an API server would.

Defaults are filled in first; unknown fields are refused (an API server drops them silently, which hides typing errors).
CEL rules are in `rules`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import jsonschema_rs
import yaml

from deploy.manifests import rules

if TYPE_CHECKING:
    from pathlib import Path

    from deploy.manifests.documents import Object

Schema = Mapping[str, Any]

# The parts of Kubernetes' schema dialect that JSON Schema does not have; they are read apart.
_OWN = "x-kubernetes-"


class Definitions:
    """All CustomResourceDefinitions in a directory."""

    def __init__(self, directory: Path) -> None:
        self._schemas: dict[tuple[str, str], dict[str, Any]] = {}
        self._validators: dict[tuple[str, str], jsonschema_rs.Draft202012Validator] = {}
        for file in sorted(directory.glob("*.yaml")):
            self._read(file)

    def _read(self, file: Path) -> None:
        spec = yaml.load(file.read_text(encoding="utf-8"), _fast_loader())["spec"]  # noqa: S506 - a SafeLoader
        for version in spec["versions"]:
            if version["served"]:
                key = f"{spec['group']}/{version['name']}", spec["names"]["kind"]
                self._schemas[key] = version["schema"]["openAPIV3Schema"]

    def knows(self, item: Object) -> bool:
        """Whether the object's kind is defined here, in its version."""
        return (item["apiVersion"], item["kind"]) in self._schemas

    def errors(self, item: Object) -> Iterator[str]:
        """What an API server would say against the object; nothing when it would take it."""
        key = item["apiVersion"], item["kind"]
        schema = self._schemas[key]
        whole = copy.deepcopy(item)
        with_defaults(whole, {**schema, "properties": _ours(schema)})
        found = [f"{'.'.join(map(str, error.instance_path))}: {error.message}" for error in self._mistakes(key, whole)]
        yield from found
        if not found:
            yield from rules.errors(whole, schema)

    def _mistakes(self, key: tuple[str, str], item: Object) -> Iterator[jsonschema_rs.ValidationError]:
        if key not in self._validators:
            schema = self._schemas[key]
            closed = strict({**schema, "properties": {**_ours(schema), "metadata": {}}})
            self._validators[key] = jsonschema_rs.Draft202012Validator(closed, validate_formats=False)
        return self._validators[key].iter_errors(item)


@cache
def _fast_loader() -> type:
    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def with_defaults(value: object, schema: Schema) -> None:
    """Fills in the schema's defaults, in place."""
    if isinstance(value, dict):
        for name, part in schema.get("properties", {}).items():
            if name not in value and "default" in part:
                value[name] = copy.deepcopy(part["default"])
            if name in value:
                with_defaults(value[name], part)
        others = schema.get("additionalProperties")
        if isinstance(others, dict):
            for part in value.values():
                with_defaults(part, others)
    if isinstance(value, list) and "items" in schema:
        for part in value:
            with_defaults(part, schema["items"])


def strict(schema: Any) -> Any:  # noqa: ANN401 - schemas hold lists and scalars, too
    """JSON Schema of a structural schema: unknown fields refused, int-or-string and nullable spelled out."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {key: strict(part) for key, part in schema.items() if not key.startswith(_OWN) and key != "properties"}
    if "properties" in schema:
        # A field may be called like a keyword: only the values are schemas.
        plain["properties"] = {name: strict(part) for name, part in schema["properties"].items()}
        # `type` tells a structural schema from a condition inside anyOf, which must not refuse anything.
        if (
            "type" in schema
            and not schema.get(_OWN + "preserve-unknown-fields")
            and "additionalProperties" not in schema
        ):
            plain["additionalProperties"] = False
    if schema.get(_OWN + "int-or-string"):
        plain["type"] = ["integer", "string"]
    if schema.get("nullable") and "type" in plain:
        plain["type"] = [plain["type"], "null"]
    plain.pop("default", None)
    return plain


def _ours(schema: Schema) -> dict[str, Any]:
    # Status is the controller's to write, with defaults of its own.
    return {name: part for name, part in schema["properties"].items() if name != "status"}
