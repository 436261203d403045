"""The section of the report: the models endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.markdown import figures, how, show, table

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.results import Result

_TEXT = """## The models endpoint

{models:,} models of {pods} pods each, {rate} requests a second at fixed times whatever became of those before; from the
time a request was due to its last byte. Client and server share the machine. {how}
{cases}"""


def section(result: Result, images: Path) -> str:
    """Markdown; no plot."""
    del images
    load = result.load
    whats = dict.fromkeys(path.rpartition("/")[0] for path in figures(result))
    columns = (("p50", 2), ("p99", 2), ("kib", 1))
    rows = ((what, *(show(result, f"{what}/{name}", digits) for name, digits in columns)) for what in whats)
    return _TEXT.format(
        models=load["models"],
        pods=load["pods of each"],
        rate=load["per_second"],
        how=how(result),
        cases="\n" + table(("what", "p50 ms", "p99 ms", "KiB"), rows),
    )
