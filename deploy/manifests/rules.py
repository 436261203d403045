"""What a schema says in Kubernetes' own words: CEL rules (`x-kubernetes-validations`), and lists without doubles.

Rules about a change (`oldSelf`) say nothing about a new object and are left out. Everything else must be evaluated: a
rule that cannot be is an error, too.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import celpy
from celpy.adapter import json_to_cel
from celpy.celparser import CELParseError
from celpy.evaluation import CELEvalError

Schema = Mapping[str, Any]

# celpy tells at "error" level of every unknown name that `has()` is there to ask about.
logging.getLogger("celpy").setLevel(logging.CRITICAL)


def errors(value: object, schema: Schema, path: str = "") -> Iterator[str]:
    """What the rules of the schema and of its parts say against the value."""
    yield from _doubles(value, schema, path)
    for rule in schema.get("x-kubernetes-validations", []):
        if "oldSelf" not in rule["rule"]:
            yield from _broken(rule, value, path)
    if isinstance(value, dict):
        properties, others = schema.get("properties", {}), schema.get("additionalProperties")
        for name, part in value.items():
            under = properties.get(name, others if isinstance(others, dict) else {})
            yield from errors(part, under, f"{path}.{name}".removeprefix("."))
    if isinstance(value, list) and "items" in schema:
        for index, part in enumerate(value):
            yield from errors(part, schema["items"], f"{path}[{index}]")


def _broken(rule: Mapping[str, Any], value: Any, path: str) -> Iterator[str]:  # noqa: ANN401 - any JSON
    try:
        holds = bool(_program(rule["rule"]).evaluate({"self": json_to_cel(value)}))
    except (CELEvalError, CELParseError) as error:
        yield f"{path}: rule cannot be evaluated ({error.args[0]}): {rule['rule']}"
        return
    if not holds:
        yield f"{path}: {rule.get('message') or rule['rule']}"


def _doubles(value: object, schema: Schema, path: str) -> Iterator[str]:
    kind = schema.get("x-kubernetes-list-type")
    if not isinstance(value, list) or kind not in ("set", "map"):
        return
    keys = schema.get("x-kubernetes-list-map-keys", [])
    seen = [tuple(item.get(key) for key in keys) if kind == "map" else item for item in value]
    if any(seen.count(item) > 1 for item in seen):
        yield f"{path}: two items are the same in {', '.join(keys) or 'value'}"


@cache
def _program(rule: str) -> celpy.Runner:
    environment = celpy.Environment()
    return environment.program(environment.compile(rule))
