"""YAML files of Kubernetes objects, and the part of kustomize that ours use: `resources` and `components`.

A key that stands twice is an error: YAML keeps the last one, and kubectl refuses the file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

Object = dict[str, Any]

_KUSTOMIZATION = "kustomization.yaml"
_READ = {"apiVersion", "kind", "resources", "components"}


class DocumentError(ValueError):
    """A file that is not what it should be."""


class Identity(NamedTuple):
    """What must be unique in a cluster."""

    api_version: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace + '/' if self.namespace else ''}{self.name}"


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses a key that stands twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = {str(key) for key in keys if keys.count(key) > 1}
        if twice:
            raise DocumentError(f"{node.start_mark}: {', '.join(sorted(twice))} stands twice")
        return super().construct_mapping(node, deep)


def parse(text: str) -> list[Object]:
    """The objects in a text of YAML documents."""
    documents = yaml.load_all(text, _Loader)
    return [document for document in documents if document is not None]


def read(path: Path) -> list[Object]:
    """The objects in a file."""
    return parse(path.read_text(encoding="utf-8"))


def build(directory: Path) -> list[Object]:
    """What `kustomize build` would print, for kustomizations that list files and directories and change nothing."""
    (kustomization,) = read(directory / _KUSTOMIZATION)
    unknown = sorted(kustomization.keys() - _READ)
    if unknown:
        raise DocumentError(f"{directory / _KUSTOMIZATION}: {', '.join(unknown)} cannot be read here; use kustomize")
    objects: list[Object] = []
    for name in [*kustomization.get("resources", []), *kustomization.get("components", [])]:
        path = directory / name
        objects += build(path) if path.is_dir() else read(path)
    return objects


def identity(item: Mapping[str, Any]) -> Identity:
    """Who an object is."""
    about = item.get("metadata", {})
    return Identity(item["apiVersion"], item["kind"], about.get("namespace", ""), about["name"])


def by_identity(objects: Iterable[Object]) -> dict[Identity, Object]:
    """Objects under their identities; raises DocumentError when two are the same."""
    found: dict[Identity, Object] = {}
    for item in objects:
        key = identity(item)
        if key in found:
            raise DocumentError(f"{key} stands twice")
        found[key] = item
    return found


def differences(left: Iterable[Object], right: Iterable[Object]) -> Iterator[str]:
    """One line for each object that is not the same on both sides."""
    ours, theirs = by_identity(left), by_identity(right)
    for key in sorted(ours.keys() | theirs.keys()):
        if key not in theirs:
            yield f"{key}: only in the first"
        elif key not in ours:
            yield f"{key}: only in the second"
        elif ours[key] != theirs[key]:
            yield f"{key}: differs"
