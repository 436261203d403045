"""Whose packages these are: the wheel has generic names beside `gateway_plugin`, and another project may have the same.

`pip install ratelimit`, say, writes its files over ours. Then one line says so, instead of an ImportError somewhere.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

_OURS = {
    "ratelimit": "RedisStore",
    "routing": "Choosing a pod",
    "simulator": "Simulated vLLM",
    "protos": "Envoy's generated stubs",
    "kube": "A Kubernetes API server",
}
"""A word that the `__init__.py` of ours has."""


def foreign_packages(root: Path | None = None) -> list[str]:
    """Names under which somebody else's package is found; `root` is where ours should be."""
    root = root or Path(__file__).parents[2]
    return [name for name, word in _OURS.items() if not _is_ours(name, word, root)]


def complaint(names: list[str]) -> str:
    """The one line."""
    return (
        f"{', '.join(names)}: another project's package of this name is installed over ours, or found before it;"
        " install gateway-plugin in an environment of its own: pipx install gateway-plugin, a venv, or the image"
    )


def _is_ours(name: str, word: str, root: Path) -> bool:
    try:
        spec = find_spec(name)
    except (ImportError, ValueError):
        return False
    if spec is None or spec.origin is None or Path(spec.origin).parent != root / name:
        return False
    return word in Path(spec.origin).read_text(encoding="utf-8", errors="replace")
