"""The README's part of the report: three plots, one table, the command."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from benchmarks.chapters import CHAPTERS
from gateway_plugin.bench.section import markdown_table

if TYPE_CHECKING:
    from benchmarks.report.reading import Folder

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
MORE = (
    "`make bench` measures all of this anew. The whole report, with every promise and whether it holds:"
    " [docs/benchmarks.md](docs/benchmarks.md)."
)
PLOTS = 3
PREFERRED = ("routing", "overhead", "limits", "scale", "soak")
"""Whose first plots are shown."""
_IMAGE = re.compile(r"!\[([^\]]*)\]\((images/[^)\s]+)\)")


class ReadmeError(ValueError):
    """A README without the marks."""


def images_of(page: str) -> list[tuple[str, str]]:
    """Texts and paths of all images."""
    return _IMAGE.findall(page)


def part(folder: Folder, page: str) -> str:
    """Between the marks; `page` is docs/benchmarks.md."""
    plots = "\n\n".join(f"![{text}](docs/{path})" for text, path in chosen(page))
    return "\n\n".join(filter(None, (plots, table(folder), MORE)))


def chosen(page: str) -> list[tuple[str, str]]:
    """The first plot of each section that is preferred; where there are fewer, others in the page's order."""
    found = images_of(page)
    firsts = [next((each for each in found if each[1].startswith(f"images/{name}")), None) for name in PREFERRED]
    picked = [each for each in firsts if each is not None]
    return (picked + [each for each in found if each not in picked])[:PLOTS]


def table(folder: Folder) -> str:
    """Promises kept and what went wrong, one line per benchmark."""
    rows = []
    for chapter in CHAPTERS:
        result = folder.results.get(chapter.name)
        if result is None:
            rows.append([chapter.title, f"not measured: {folder.outcome(chapter.name) or 'no result'}", "", ""])
            continue
        kept = sum(line.holds for line in result.lines)
        shown = f"{kept} of {len(result.lines)}" if result.lines else "-"
        shown = shown if kept == len(result.lines) else f"**{shown}**"
        rows.append([chapter.title, shown, str(sum(result.errors.values())), str(result.timeouts)])
    return markdown_table(["what was measured", "promises kept", "errors", "timeouts"], rows)


def filled(readme: str, text: str) -> str:
    """The README with this text between its marks; raises ReadmeError."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ReadmeError(f"README.md needs the lines {BEGIN} and {END}: the report goes between them")
    return f"{before}{BEGIN}\n{text}\n{END}{after}"
