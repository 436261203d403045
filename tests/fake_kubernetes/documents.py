"""The documents that say what the server has: /api, /apis and below."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.fake_kubernetes.resources import VERBS

if TYPE_CHECKING:
    from collections.abc import Collection

    from tests.fake_kubernetes.resources import Resource

VERSION = {"major": "1", "minor": "34", "gitVersion": "v1.34.0"}


def core_versions() -> dict[str, Any]:
    """/api."""
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}


def group_list(resources: Collection[Resource]) -> dict[str, Any]:
    """/apis."""
    names = dict.fromkeys(resource.group for resource in resources if resource.group)
    groups = [group(name, resources) for name in names]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def group(name: str, resources: Collection[Resource]) -> dict[str, Any]:
    """/apis/{group}."""
    found = dict.fromkeys(version for one in resources if one.group == name for version in one.versions)
    versions = [{"groupVersion": f"{name}/{version}", "version": version} for version in found]
    return {
        "kind": "APIGroup",
        "apiVersion": "v1",
        "name": name,
        "versions": versions,
        "preferredVersion": versions[0] if versions else None,
    }


def resource_list(group_name: str, version: str, resources: Collection[Resource]) -> dict[str, Any]:
    """/api/v1 and /apis/{group}/{version}."""
    served = [one for one in resources if one.group == group_name and version in one.versions]
    entries = [entry for one in served for entry in _entries(one)]
    api_version = f"{group_name}/{version}" if group_name else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version, "resources": entries}


def _entries(resource: Resource) -> list[dict[str, Any]]:
    entry = {
        "name": resource.plural,
        "singularName": resource.kind.lower(),
        "namespaced": resource.namespaced,
        "kind": resource.kind,
    }
    whole = {**entry, "verbs": list(VERBS), "shortNames": list(resource.short_names)}
    status = {**entry, "name": f"{resource.plural}/status", "singularName": "", "verbs": ["get", "patch", "update"]}
    return [whole, status] if resource.has_status else [whole]
