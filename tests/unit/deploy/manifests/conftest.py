"""The objects as they stand in files; schemas where they are."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.manifests.checks import static_objects
from deploy.manifests.documents import Object, build
from deploy.manifests.paths import CRDS, GATEWAY
from deploy.manifests.schemas import Definitions


class Objects:
    """Objects by kind and name."""

    def __init__(self, objects: list[Object]) -> None:
        self.all = objects

    def of(self, kind: str) -> list[Object]:
        return [item for item in self.all if item["kind"] == kind]

    def get(self, kind: str, name: str = "gateway-plugin") -> Any:
        (found,) = [item for item in self.of(kind) if item["metadata"]["name"] == name]
        return found


@pytest.fixture(scope="session")
def objects() -> Objects:
    """The kustomization."""
    return Objects(build(GATEWAY))


@pytest.fixture(scope="session")
def every_object() -> Objects:
    """The kustomization, monitoring and samples."""
    return Objects(static_objects())


@pytest.fixture(scope="session")
def definitions() -> Definitions:
    """The CRDs of Envoy Gateway and the Gateway API."""
    if not CRDS.is_dir():
        pytest.skip(f"no schemas in {CRDS}; set GATEWAY_CRDS")
    return Definitions(CRDS)
