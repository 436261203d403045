"""What a request is about: the path and the query, taken apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.fake_kubernetes.errors import ApiError, bad_request

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.fake_kubernetes.resources import Resource


@dataclass(frozen=True, slots=True)
class Target:
    """A collection (without a name) or an object, or its subresource."""

    resource: Resource
    version: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""


def parse_target(path: str, resources: Mapping[str, Resource]) -> Target:
    """Raises 404 for what is not served."""
    parts = path.strip("/").split("/")
    group, version, rest = ("", parts[1], parts[2:]) if parts[0] == "api" else (parts[1], parts[2], parts[3:])
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] != "status":
        namespace, rest = rest[1], rest[2:]
    plural, name, subresource, *more = [*rest, "", ""]
    resource = resources.get(plural)
    known = resource is not None and resource.group == group and version in resource.versions
    if resource is None or not known or any(more) or subresource not in ("", "status"):
        raise ApiError(404, "NotFound", "the server could not find the requested resource")
    if subresource and not resource.has_status:
        raise ApiError(404, "NotFound", "the server could not find the requested resource")
    return Target(resource, version, namespace, name, subresource)


def flag(query: Mapping[str, str], name: str) -> bool:
    """A boolean of the query."""
    return query.get(name, "") in ("true", "1")


def number(query: Mapping[str, str], name: str) -> int:
    """A whole number of the query; 0 when it is not given."""
    text = query.get(name) or "0"
    if not text.isdecimal():
        raise bad_request(f"Invalid value: {text!r}: {name}")
    return int(text)
