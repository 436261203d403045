"""`python -m benchmarks.scaling`: every autoscaler under every load, in virtual time; writes `scaling.json`.

A run that was stopped goes on where it was: what the file has is not run again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress

from benchmarks.results import ROOT
from benchmarks.scaling.running import KNOBS, run_all, tasks

if TYPE_CHECKING:
    from collections.abc import Sequence

TRACE = ROOT.parent / "shared/traces/azure_2023_conv.csv"
RESULTS = ROOT / "benchmarks/results/scaling.json"
_LOADS = ("diurnal", "bursts", "step", "trace")
_SAVE_EVERY = 20


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scaling", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--trace", type=Path, default=TRACE, help="Azure's .csv; where it is missing, a stand-in")
    parser.add_argument("--loads", nargs="+", choices=_LOADS, default=list(_LOADS))
    parser.add_argument("--scalers", nargs="+", choices=list(KNOBS), default=list(KNOBS))
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(words)
    trace = options.trace if options.trace.exists() else None
    found = _read(options.out)
    wanted = [task for task in tasks(options.loads, options.seeds) if task.scaler in options.scalers]
    todo = [task for task in wanted if (task.load, task.scaler, task.knob, task.seed) not in found]
    with Progress(console=Console(stderr=True)) as bar:
        shown = bar.add_task("runs", total=len(todo))
        for number, (task, outcome) in enumerate(run_all(todo, trace, options.workers), start=1):
            figures = (round(outcome.gpu_hours, 4), round(outcome.late_share, 6), outcome.changes)
            found[task.load, task.scaler, task.knob, task.seed] = figures
            bar.advance(shown)
            if number % _SAVE_EVERY == 0:
                _write(options.out, found, trace)
    _write(options.out, found, trace)


Key = tuple[str, str, float, int]
Figures = tuple[float, float, int]


def _read(path: Path) -> dict[Key, Figures]:
    rows = json.loads(path.read_text())["runs"] if path.exists() else []
    return {(load, scaler, float(knob), int(seed)): (*figures,) for load, scaler, knob, seed, *figures in rows}


def _write(path: Path, found: dict[Key, Figures], trace: Path | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = ",\n".join(json.dumps([*key, *figures]) for key, figures in sorted(found.items()))
    path.write_text(f'{{"trace": {json.dumps(trace.name if trace else None)}, "runs": [\n{rows}\n]}}\n')


if __name__ == "__main__":
    main()
