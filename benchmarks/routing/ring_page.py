"""`python -m benchmarks.routing.ring_page RESULT...`: docs/routing-contests.md, its numbers from results of the ring.

Of several results each may tell other conditions; the first that tells one counts.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from benchmarks.results import ROOT
from benchmarks.routing.verdicts import JUDGED, OURS, Cells, Verdict, regret, verdicts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PAGE = ROOT / "docs/routing-contests.md"
_AHEAD = 0.8
_HEAD = """\
# Routing contests

<!-- Written by `python -m benchmarks.routing.ring_page {sources}`; do not edit. -->

`prefix-cache-and-load` against this gateway's other strategies and against what other products publish of theirs,
written anew for the benchmark ([which, and how](benchmarking-peers.md#routing-strategies-in-virtual-time)), on the same
[simulated engines](simulator.md) and the same requests. Nothing of it ran on a GPU. Each number is a ratio: ours over
the best of the others, in the mean over the seeds; below 1 ours is better. The best of many is partly luck, so that an
equal would get a little more than 1. Brackets hold 95 % of what resampled seeds give. Seeds of development were 1 to 9,
those of this page begin at 1,001. A change of ours is measured with `--into`: the others' numbers, whose code and whose
engines are the same, stay. Not measured anew after the last change: ours on retrieval at 0.95, and at 0.7 sharing.

```sh
python -m benchmarks.routing.ring          # one seed, 500 requests a run; see --help for more
python -m benchmarks.routing.one chats     # one workload, some strategies, in seconds
```
"""


class Measured(msgspec.Struct):
    """A file that `benchmarks.routing.ring` wrote."""

    seeds: list[int]
    requests: int
    titles: dict[str, str]
    cells: Cells


def page(results: Sequence[Measured], sources: str) -> str:
    """The whole page."""
    cells: Cells = {}
    titles: dict[str, str] = {}
    for result in reversed(results):
        cells |= result.cells
        titles |= result.titles
    found = list(verdicts(cells))
    base = [verdict for verdict in found if verdict.where.endswith("/0.9/1")]
    parts = [
        _HEAD.format(sources=sources),
        _summary(found),
        "## At a load of 0.9, one replica\n\n" + _measured_with(results[0]) + _base_table(cells, titles, base),
        "## All loads and replicas\n\n" + _rest(results) + _grid(found, titles),
        "## Losses\n\n" + _losses(found),
        "## Beside who knows everything\n\n" + _regrets(cells, titles),
    ]
    return "\n".join(part.strip("\n") + "\n" for part in parts)


def _summary(found: Sequence[Verdict]) -> str:
    lost = [verdict for verdict in found if verdict.is_lost]
    sure = [verdict for verdict in lost if not verdict.is_by_chance]
    ahead = sum(verdict.ratio <= _AHEAD for verdict in found)
    clearly = {verdict.where for verdict in found if verdict.ratio <= _AHEAD}
    conditions = {verdict.where for verdict in found}
    return (
        f"Of {len(found)} numbers (mean and p99 of the time to first token, p99 of the whole time) **{len(lost)} are"
        f" lost** by more than 5 %, {len(sure)} of them by more than chance as far as seeds tell; {ahead} are ahead by"
        f" 20 % or more, under {len(clearly)} of {len(conditions)} conditions (workload, load and replicas)."
    )


def _measured_with(result: Measured) -> str:
    names = sorted({name for strategies in result.cells.values() for name in strategies} - {OURS})
    return f"{len(result.seeds)} seeds, {result.requests} requests a run; against {'; '.join(names)}.\n\n"


def _rest(results: Sequence[Measured]) -> str:
    last = results[-1]
    seeds = "one seed" if len(last.seeds) == 1 else f"{len(last.seeds)} seeds"
    return (
        f"Ratios of mean / p99 time to first token / p99 of the whole time; {seeds}, {last.requests} requests a run"
        " (but for 0.9 with one replica, above). A single seed is a hint, not a proof.\n\n"
    )


def _base_table(cells: Cells, titles: dict[str, str], base: Sequence[Verdict]) -> str:
    rows = ["| workload | " + " | ".join(f"{kind}, against" for kind in JUDGED) + " | TTFT mean |", "|---" * 5 + "|"]
    for name, title in titles.items():
        own = {verdict.kind: verdict for verdict in base if verdict.where.split("/")[0] == name}
        if own:
            mean = float(np.mean(cells[f"{name}/0.9/1"][OURS]["TTFT mean"]))
            rows.append(f"| {name}: {title} | {' | '.join(_cell(own[kind]) for kind in JUDGED)} | {mean:.3f} s |")
    return "\n".join(rows)


def _cell(verdict: Verdict) -> str:
    ratio = f"**{verdict.ratio:.2f}**" if verdict.is_lost else f"{verdict.ratio:.2f}"
    interval = "" if np.isnan(verdict.least) else f" [{verdict.least:.2f}-{verdict.most:.2f}]"
    return f"{ratio}{interval} {verdict.best_strategy}"


def _grid(found: Iterable[Verdict], titles: dict[str, str]) -> str:
    ratios: dict[str, dict[str, list[str]]] = {}
    for verdict in found:
        name, condition = verdict.where.split("/", 1)
        text = f"**{verdict.ratio:.2f}**" if verdict.is_lost else f"{verdict.ratio:.2f}"
        ratios.setdefault(name, {}).setdefault(condition, []).append(text)
    conditions = sorted({condition for each in ratios.values() for condition in each})
    heads = (condition.replace("/", ", ") for condition in conditions)
    rows = [f"| workload | {' | '.join(heads)} |", "|---" * (len(conditions) + 1) + "|"]
    for name in titles:
        each = ratios.get(name, {})
        rows.append(f"| {name} | {' | '.join(' / '.join(each.get(condition, ['-'])) for condition in conditions)} |")
    return "\n".join(rows)


def _losses(found: Iterable[Verdict]) -> str:
    lost = sorted((verdict for verdict in found if verdict.is_lost), key=lambda verdict: -verdict.ratio)
    if not lost:
        return "None by more than 5 %."
    lines = [f"- {verdict}{' (perhaps chance)' if verdict.is_by_chance else ''}" for verdict in lost]
    return "By more than 5 %, worst first; a single seed cannot tell chance.\n\n" + "\n".join(lines)


def _regrets(cells: Cells, titles: dict[str, str]) -> str:
    head = (
        "Ours, and the best of all products, over a scheduler that knows caches, queues, speeds and the lengths of"
        " answers. It looks at each request as it comes and knows no future, so that it is a measure and no proven"
        " bound: below 1 it is beaten, and where caches are short (documents, retrieval, agents) it is poor. Load 0.9,"
        " one replica.\n\n"
    )
    rows = ["| workload | " + " | ".join(f"{kind}: ours, best" for kind in JUDGED) + " |", "|---" * 4 + "|"]
    for name in titles:
        where = f"{name}/0.9/1"
        if where in cells:
            others = [each for each in cells[where] if each != OURS and not each.startswith("clairvoyant")]
            texts = [_regret(cells, where, kind, others) for kind in JUDGED]
            rows.append(f"| {name} | {' | '.join(texts)} |")
    return head + "\n".join(rows)


def _regret(cells: Cells, where: str, kind: str, others: Iterable[str]) -> str:
    best = min(regret(cells, where, each, kind) for each in others)
    return f"{regret(cells, where, OURS, kind):.2f}, {best:.2f}"


def sources_of(text: str) -> list[str]:
    """The results that a page was written from; raises ValueError."""
    found = re.search(r"benchmarks\.routing\.ring_page ([^`]+)`", text)
    if found is None:
        raise ValueError(f"{PAGE} does not say which results it was written from")
    return found[1].split()


def read_measured(source: str) -> Measured:
    """Raises OSError, and msgspec's errors."""
    return msgspec.json.decode((ROOT / source).read_bytes(), type=Measured)


def main() -> None:
    """Writes the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.routing.ring_page", description=__doc__)
    parser.add_argument("results", nargs="*", help="files of the ring, from the project's root; else as before")
    sources = parser.parse_args().results or sources_of(Path(PAGE).read_text())
    PAGE.write_text(page([read_measured(source) for source in sources], " ".join(sources)))


if __name__ == "__main__":
    main()
