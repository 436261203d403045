"""`python -m benchmarks.optimizer [SEED ...]`: cost and kept targets of the plan and of single types."""

from __future__ import annotations

import sys

from benchmarks.optimizer.mixed_fleet import compared


def main() -> None:
    for seed in [int(text) for text in sys.argv[1:]] or [1, 2, 3]:
        found = compared(seed)
        cheapest = min((one.cost for name, one in found.items() if name != "plan"), default=float("nan"))
        for name, one in found.items():
            pods = ", ".join(f"{count} x {gpu}" for gpu, count in one.pods.items() if count)
            print(f"seed {seed}  {name:5}  {one.cost:7.2f} an hour  {one.kept:6.1%} within targets  {pods}")
        print(f"seed {seed}  the plan costs {1 - found['plan'].cost / cheapest:.0%} less than the cheapest type alone")


main()
