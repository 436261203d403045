"""What the documents name exists: files, directories, links and their anchors, modules, targets of make."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
CODE = (
    "gateway_plugin",
    "routing",
    "ratelimit",
    "orchestration",
    "simulator",
    "protos",
    "kube",
    "tests",
    "benchmarks",
    "deploy",
)
ROOMS = (*CODE, "docs", "changelog.d", ".github", ".ci")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(path for room in ROOMS for path in (ROOT / room).rglob("*.md"))])
WRITTEN_INTO = {ROOT / "benchmarks/overhead/section.md": ROOT / "docs"}
"""Pieces of other documents: their links start there."""

NOT_HERE = {
    "routing.json",  # a file that a benchmark writes
    "routing/strategies/my_strategy.py",
    "body-limits.fixed.md",
    "report.md",
    "deploy/gateway-plugin",  # kubectl's name of a Deployment
    "gateway_plugin.usage",  # dynamic metadata of Envoy
}
"""Names of what a reader makes, and names that only look like ours."""

_LINK = re.compile(r"\]\(([^()\s]+)\)")
_CODE = re.compile(r"^```.*?^```|`[^`\n]+`", re.MULTILINE | re.DOTALL)
_QUOTED = re.compile(r"`([\w./-]+)`")
_FILE = r"(?:\.\./)*(?:[\w.-]+/)*[\w-]+\.(?:py|lua|md|proto|j2)"
_DIRECTORY = r"(?:[\w-]+/)+"
_IN_A_ROOM = rf"(?:{'|'.join(ROOMS)})/[\w./-]+"
_PATH = re.compile(f"{_FILE}|{_DIRECTORY}|{_IN_A_ROOM}")
_MODULE = re.compile(rf"(?:{'|'.join(CODE)})(?:\.[A-Za-z_]\w*)+")
_MAKE = re.compile(r"\bmake ([a-z][a-z0-9-]*)\b(?! it)")


@cache
def tails() -> frozenset[str]:
    """Every way to name a file or a directory by the end of its path."""
    found: set[str] = set()
    for path in [*ROOT.glob("*.*"), *(path for room in ROOMS for path in (ROOT / room).rglob("*"))]:
        if path.is_file() and "__pycache__" not in path.parts:
            parts = path.relative_to(ROOT).parts
            found.update("/".join(parts[at:to]) for to in range(1, len(parts) + 1) for at in range(to))
    return frozenset(found)


@cache
def anchors(document: Path) -> frozenset[str]:
    """The headings, as GitHub names them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return frozenset(re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings)


def _is_here(path: str, document: Path) -> bool:
    return path in NOT_HERE or path.rstrip("/") in tails() or (document.parent / path).exists()


def _is_module(name: str) -> bool:
    """A module, or a name that its parent has."""
    path = ROOT.joinpath(*name.split("."))
    if name in NOT_HERE or path.is_dir() or path.with_suffix(".py").exists():
        return True
    parents = [parent for parent in (path.parent.with_suffix(".py"), path.parent / "__init__.py") if parent.exists()]
    return any(re.search(rf"\b{path.name}\b", parent.read_text(encoding="utf-8")) for parent in parents)


def names_that_lead_nowhere(text: str, document: Path) -> Iterator[str]:
    """Of files, directories, modules and targets of make, in what stands in backticks."""
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for code in _CODE.findall(text):
        words = [word.strip("`,;:()\"'").partition("::")[0] for word in code.split()]
        yield from (word for word in words if _PATH.fullmatch(word) and not _is_here(word, document))
        modules = [word for word in words if _MODULE.fullmatch(word)]
        yield from (name for name in modules if not _PATH.fullmatch(name) and not _is_module(name))
        yield from (f"make {name}" for name in _MAKE.findall(code) if name not in targets)


def links_that_lead_nowhere(text: str, document: Path) -> Iterator[str]:
    """Relative ones, with their anchors."""
    for link in _LINK.findall(text):
        path, _, anchor = link.partition("#")
        if "://" in link:
            continue
        target = WRITTEN_INTO.get(document, document.parent) / path if path else document
        if not target.exists() or (anchor and anchor not in anchors(target)):
            yield link


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_document_leads_somewhere(document: Path):
    text = document.read_text(encoding="utf-8")
    assert list(links_that_lead_nowhere(text, document)) == []
    if document.name != "CHANGELOG.md":  # tells of what was
        assert list(names_that_lead_nowhere(text, document)) == []


def _names_in_code(text: str) -> Iterator[str]:
    for word in _QUOTED.findall(text):
        if word.startswith(ROOMS) and ("/" in word or _MODULE.fullmatch(word)):
            yield word


@pytest.mark.parametrize("room", CODE)
def test_comments_lead_somewhere(room: str):
    lost = []
    for path in sorted((ROOT / room).rglob("*.*")):
        if path.suffix in {".py", ".lua", ".j2", ".yaml", ".tpl", ".proto"} and path != Path(__file__):
            names = _names_in_code(path.read_text(encoding="utf-8"))
            lost += [
                f"{path.relative_to(ROOT)}: {name}"
                for name in names
                if not (_is_here(name, path) if "/" in name else _is_module(name))
            ]
    assert lost == []


@pytest.mark.parametrize(
    "text",
    [
        "`routing/nowhere.py`",
        "`nowhere.py`",
        "`nowhere/`",
        "`docs/nowhere`",
        "`routing.nowhere`",
        "`python -m benchmarks.nowhere`",
        "```sh\nmake nowhere\n```",
    ],
)
def test_what_is_not_there_is_missed(text: str):
    assert len(list(names_that_lead_nowhere(text, ROOT / "README.md"))) == 1


@pytest.mark.parametrize("link", ["docs/nowhere.md", "docs/architecture.md#nowhere", "#nowhere"])
def test_links_to_nowhere_are_missed(link: str):
    assert list(links_that_lead_nowhere(f"[x]({link})", ROOT / "README.md")) == [link]
