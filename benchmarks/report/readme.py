"""The README's part of the report: three plots, one table, the command."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from benchmarks.chapters import CHAPTERS
from gateway_plugin.tools.bench.section import markdown_table

if TYPE_CHECKING:
    from benchmarks.report.reading import Folder
    from benchmarks.results import Result

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
MORE = (
    "`make bench` measures all of this anew. The whole report, with every promise and whether it holds:"
    " [docs/benchmarks.md](docs/benchmarks.md)."
)
PLOTS = 3
PREFERRED = ("routing-load", "overhead-cpu", "routing-ttft")
"""The plots that are shown, where they are; others in the page's order where they are not."""
STRATEGIES = ("random", "least-request", "session-affinity", "prefix-cache", "prefix-cache-and-load")
"""Those of the table."""
_IMAGE = re.compile(r"!\[([^\]]*)\]\((images/[^)\s]+)\)")


class ReadmeError(ValueError):
    """A README without the marks."""


def images_of(page: str) -> list[tuple[str, str]]:
    """Texts and paths of all images."""
    return _IMAGE.findall(page)


def part(folder: Folder, page: str) -> str:
    """Between the marks; `page` is docs/benchmarks.md."""
    plots = "\n\n".join(f"![{text}](docs/{path})" for text, path in chosen(page))
    return "\n\n".join(filter(None, (plots, table(folder), f"{kept(folder)} {MORE}")))


def chosen(page: str) -> list[tuple[str, str]]:
    """Texts and paths of the plots."""
    found = images_of(page)
    preferred = [each for name in PREFERRED for each in found if each[1] == f"images/{name}.svg"]
    return (preferred + [each for each in found if each not in preferred])[:PLOTS]


def table(folder: Folder) -> str:
    """p99 of the time to first token by workload and strategy, the best in bold; empty without results of routing."""
    result = folder.results.get("routing")
    if result is None or not result.figures:
        return ""
    seconds = {figure.path: figure.spread.median for figure in result.figures}
    workloads = dict.fromkeys(figure.path.split("/")[0] for figure in result.figures)
    rows = [_row(each, [seconds.get(f"{each}/{name}/TTFT p99") for name in STRATEGIES]) for each in workloads]
    return markdown_table(["p99 time to first token, s", *STRATEGIES], rows)


def _row(workload: str, seconds: list[float | None]) -> list[str]:
    best = min((each for each in seconds if each is not None), default=None)
    shown = ["-" if each is None else f"**{each:.2f}**" if each == best else f"{each:.2f}" for each in seconds]
    return [workload, *shown]


def kept(folder: Folder) -> str:
    """Promises kept and what went wrong, of each benchmark."""
    said = []
    for chapter in CHAPTERS:
        result = folder.results.get(chapter.name)
        if result is None:
            said.append(f"{chapter.name} not measured ({folder.outcome(chapter.name) or 'no result'})")
            continue
        held = sum(line.holds for line in result.lines)
        said.append(f"{chapter.name} {held} of {len(result.lines)}{_trouble(result)}")
    return f"Promises kept: {', '.join(said)}."


def _trouble(result: Result) -> str:
    errors = sum(result.errors.values())
    return f" ({errors} errors, {result.timeouts} timeouts)" if errors or result.timeouts else ""


def filled(readme: str, text: str) -> str:
    """The README with this text between its marks; raises ReadmeError."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ReadmeError(f"README.md needs the lines {BEGIN} and {END}: the report goes between them")
    return f"{before}{BEGIN}\n{text}\n{END}{after}"
