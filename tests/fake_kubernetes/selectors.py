"""Label and field selectors, in the grammar of the API server."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tests.fake_kubernetes.errors import bad_request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Predicate = Callable[[Mapping[str, Any]], bool]

_SET = re.compile(r"(?P<key>\S+)\s+(?P<operator>in|notin)\s+\((?P<values>[^)]*)\)")
_EQUAL = re.compile(r"(?P<key>[^=!\s]+)\s*(?P<operator>==|=|!=)\s*(?P<value>\S*)")
_EXISTS = re.compile(r"(?P<absent>!?)\s*(?P<key>[^=!\s,()]+)")
_COMMA_OUTSIDE_PARENTHESES = re.compile(r",(?![^(]*\))")


def selector(labels: str, fields: str) -> Predicate:
    """Whether an object meets both selectors; empty ones are met by all."""
    tests = [_label_test(part.strip()) for part in _COMMA_OUTSIDE_PARENTHESES.split(labels) if part.strip()]
    tests += [_field_test(part.strip()) for part in fields.split(",") if part.strip()]
    return lambda body: all(test(body) for test in tests)


def _label_test(text: str) -> Predicate:
    if found := _SET.fullmatch(text):
        return _in_set(found["key"], {value.strip() for value in found["values"].split(",")}, found["operator"] == "in")
    if found := _EQUAL.fullmatch(text):
        return _in_set(found["key"], {found["value"]}, found["operator"] != "!=")
    if found := _EXISTS.fullmatch(text):
        key, wanted = found["key"], not found["absent"]
        return lambda body: (key in _labels(body)) is wanted
    raise bad_request(f"unable to parse requirement: {text!r}")


def _in_set(key: str, values: set[str], wanted: bool) -> Predicate:
    # An absent label is "not in" every set.
    return lambda body: (_labels(body).get(key) in values) is wanted


def _field_test(text: str) -> Predicate:
    found = _EQUAL.fullmatch(text)
    if found is None:
        raise bad_request(f"invalid field selector: {text!r}")
    path, value, wanted = found["key"].split("."), found["value"], found["operator"] != "!="
    return lambda body: (_at(body, path) == value) is wanted


def _at(body: Mapping[str, Any], path: list[str]) -> str:
    value: Any = body
    for key in path:
        value = value.get(key, {}) if isinstance(value, dict) else {}
    return value if isinstance(value, str) else ""


def _labels(body: Mapping[str, Any]) -> Mapping[str, str]:
    return body["metadata"].get("labels") or {}
