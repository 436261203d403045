"""All benchmarks that make the report, in its order: how each is run, and where its section comes from."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.results import Result

TOTAL_SECONDS = 15 * 60


class Section(Protocol):
    """Markdown that begins with `## Title`; plots go into `images`, and are shown as `images/<file>.svg`."""

    def __call__(self, result: Result, images: Path) -> str:
        """From the result alone."""


@dataclass(frozen=True, slots=True)
class Chapter:
    """A benchmark. `seconds` is its part of the time for all; what earlier ones leave, later ones may use."""

    name: str
    title: str
    seconds: int
    arguments: tuple[str, ...] = ()
    package: str = "benchmarks"

    @property
    def command(self) -> str:
        """For people."""
        return " ".join(("python -m", self.module, *self.arguments))

    @property
    def module(self) -> str:
        """What is run."""
        return f"{self.package}.{self.name}"


CHAPTERS = (
    Chapter("overhead", "What the gateway costs", 330),
    Chapter("routing", "What routing gains", 300),
    Chapter("limits", "Limits", 70),
    Chapter("scale", "Scale", 90),
    Chapter("soak", "Soak", 110),
)
_ELSEWHERE = {"bench": ("gateway_plugin.tools.bench.section",)}


def find_section(name: str) -> Section | None:
    """Imported only now, as it needs matplotlib; None when this benchmark has no section."""
    for module in _ELSEWHERE.get(name, (f"benchmarks.{name}.section", f"benchmarks.{name}_section")):
        try:
            return cast("Section", importlib.import_module(module).section)
        except ModuleNotFoundError as error:
            # Its own module may be absent; one that it imports may not.
            if not error.name or not f"{module}.".startswith(f"{error.name}."):
                raise
    return None


def is_there(chapter: Chapter) -> bool:
    """Whether the benchmark can be run."""
    return find_spec(chapter.module) is not None
