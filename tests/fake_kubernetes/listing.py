"""Lists: selectors and pages. All pages of a list show one moment, however much happens between them."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from tests.fake_kubernetes.errors import ApiError
from tests.fake_kubernetes.paths import number
from tests.fake_kubernetes.selectors import selector

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.fake_kubernetes.cluster import Cluster, Json
    from tests.fake_kubernetes.paths import Target

_MAX_OPEN_LISTS = 100


class Lists:
    """Remembers the rest of lists that are read in pages."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._rest: dict[str, tuple[int, list[Json]]] = {}

    def page(self, target: Target, query: Mapping[str, str]) -> dict[str, Any]:
        """One page; 410 for a continuation that is too old."""
        token = query.get("continue", "")
        version, items = self._continued(token) if token else self._fresh(target, query)
        limit = number(query, "limit") or len(items)
        metadata: dict[str, Any] = {"resourceVersion": str(version)}
        if len(items) > limit:
            metadata |= {"continue": self._keep(version, items[limit:]), "remainingItemCount": len(items) - limit}
        return {
            "kind": f"{target.resource.kind}List",
            "apiVersion": target.resource.api_version(target.version),
            "metadata": metadata,
            "items": [_item(body) for body in items[:limit]],
        }

    def _fresh(self, target: Target, query: Mapping[str, str]) -> tuple[int, list[Json]]:
        matches = selector(query.get("labelSelector", ""), query.get("fieldSelector", ""))
        items = [body for body in self._cluster.list(target.resource, target.namespace) if matches(body)]
        return self._cluster.history.version, items

    def _continued(self, token: str) -> tuple[int, list[Json]]:
        version, items = self._rest.get(token, (-1, []))
        if version < self._cluster.history.oldest:
            raise ApiError(410, "Expired", "The provided continue parameter is too old")
        return version, items

    def _keep(self, version: int, items: list[Json]) -> str:
        token = secrets.token_urlsafe(12)
        self._rest[token] = (version, items)
        while len(self._rest) > _MAX_OPEN_LISTS:
            del self._rest[next(iter(self._rest))]
        return token


def _item(body: Json) -> Json:
    """Items of a list do not say what they are: the list does."""
    return {key: value for key, value in body.items() if key not in ("apiVersion", "kind")}


def shown(body: Mapping[str, Any], target: Target) -> Mapping[str, Any]:
    """The object in the version that was asked for."""
    return {**body, "apiVersion": target.resource.api_version(target.version)}
