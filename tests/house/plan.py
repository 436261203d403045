"""What the imports say: rooms of the service, arrows between them, circles of files, names that stand twice.

A room is what stands directly in `gateway_plugin`, a module or a package; an arrow is a pair of rooms of which one
imports from the other, imports for type checking included. A circle is a set of files each of which leads to each.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SERVICE = "gateway_plugin"
PACKAGES = (SERVICE, "routing", "ratelimit", "orchestration", "simulator", "protos", "kube")
_NOT_TOLD_APART = ("__init__.py", "__main__.py")


@dataclass(frozen=True, slots=True)
class Source:
    """One module: its name, its file, the modules that it imports and the classes that it defines."""

    name: str
    path: Path
    imports: frozenset[str]
    classes: tuple[str, ...]


def sources(root: Path = ROOT) -> dict[str, Source]:
    """All modules of the product by name, generated ones left out."""
    paths = {_name(path, root): path for package in PACKAGES for path in sorted((root / package).rglob("*.py"))}
    paths = {name: path for name, path in paths.items() if not name.endswith("_pb2")}
    return {name: _read(name, path, frozenset(paths)) for name, path in paths.items()}


def _name(path: Path, root: Path) -> str:
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def _read(name: str, path: Path, known: frozenset[str]) -> Source:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    classes = tuple(node.name for node in tree.body if isinstance(node, ast.ClassDef))
    return Source(name, path, frozenset(_imports(tree, known) - {name}), classes)


def _imports(tree: ast.Module, known: frozenset[str]) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                member = f"{node.module}.{alias.name}"
                found.add(member if member in known else node.module)
        elif isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
    return found & known


def room_of(name: str) -> str:
    """Where a module stands: a room of the service, or one of the packages beside it."""
    parts = name.split(".")
    return ".".join(parts[:2]) if parts[0] == SERVICE else parts[0]


def rooms(house: dict[str, Source]) -> set[str]:
    """The rooms of the service."""
    return {room_of(name) for name in house if name.startswith(f"{SERVICE}.")}


def arrows(house: dict[str, Source]) -> set[tuple[str, str]]:
    """Pairs of rooms of the service, the importing one first."""
    inside = [source for name, source in house.items() if name.startswith(f"{SERVICE}.")]
    pairs = {(room_of(one.name), room_of(other)) for one in inside for other in one.imports}
    return {(one, other) for one, other in pairs if one != other and other.startswith(f"{SERVICE}.")}


def circles(links: dict[str, set[str]]) -> list[list[str]]:
    """Strongly connected parts of more than one node, each sorted (Tarjan 1972)."""
    index: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = lowest[node] = len(index)
        stack.append(node)
        for other in links.get(node, ()):
            if other not in index:
                visit(other)
            if other in stack:
                lowest[node] = min(lowest[node], lowest[other])
        if lowest[node] == index[node]:
            at = stack.index(node)
            part, stack[at:] = stack[at:], []
            if len(part) > 1:
                found.append(sorted(part))

    for node in links:
        if node not in index:
            visit(node)
    return sorted(found)


def circles_of_files(house: dict[str, Source]) -> list[list[str]]:
    """Circles of modules; packages that only hand on names are looked through by their own imports."""
    return circles({name: set(source.imports) for name, source in house.items()})


def circles_of_rooms(house: dict[str, Source]) -> list[list[str]]:
    """Circles of rooms of the service."""
    links: dict[str, set[str]] = {room: set() for room in rooms(house)}
    for one, other in arrows(house):
        links[one].add(other)
    return circles(links)


def shared_file_names(house: dict[str, Source]) -> dict[str, list[str]]:
    """Base names that several modules bear."""
    return _shared([(source.path.name, name) for name, source in house.items()], without=_NOT_TOLD_APART)


def shared_class_names(house: dict[str, Source]) -> dict[str, list[str]]:
    """Names that several modules give to a class of their own; private ones left out."""
    pairs = [(item, name) for name, source in house.items() for item in source.classes if not item.startswith("_")]
    return _shared(pairs, without=())


def _shared(pairs: list[tuple[str, str]], *, without: tuple[str, ...]) -> dict[str, list[str]]:
    holders: dict[str, list[str]] = defaultdict(list)
    for name, holder in pairs:
        if name not in without:
            holders[name].append(holder)
    return {name: sorted(held) for name, held in sorted(holders.items()) if len(held) > 1}
