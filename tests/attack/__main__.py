"""`make attack`: every attack, in both configurations of Envoy, and a table of what came through.

Exits with 1 when anything did that is not listed as known, or when something listed does not any more.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.attack.arena import open_arena
from tests.attack.catalogue import BY_IDENTITY, KNOWN_OPEN, mended, unexpected
from tests.attack.runner import Score, attempt_kind
from tests.envoy_flavours import TEMPLATES

Scores = dict[str, dict[str, Score]]
"""By kind, then by configuration."""


async def attack(flavours: list[str], kinds: list[str], console: Console) -> Scores:
    """All of them, telling of each kind when it is done."""
    scores: Scores = {}
    for flavour in flavours:
        for identity, by_kind in BY_IDENTITY.items():
            wanted = {kind: attacks for kind, attacks in by_kind.items() if not kinds or kind in kinds}
            if not wanted:
                continue
            with tempfile.TemporaryDirectory() as directory:
                async with open_arena(flavour, identity, Path(directory)) as arena:
                    for kind, attacks in wanted.items():
                        score = await attempt_kind(arena, kind, attacks)
                        scores.setdefault(kind, {})[flavour] = score
                        console.print(f"{flavour}: {kind}: {score.attempts} attempts, {len(score.through)} through")
    return scores


def table(scores: Scores, flavours: list[str]) -> Table:
    """Attempts by kind, and what came through."""
    shown = Table("kind", *(f"{flavour}: {what}" for flavour in flavours for what in ("attempts", "through")))
    for kind, by_flavour in scores.items():
        cells = [by_flavour.get(flavour, Score()) for flavour in flavours]
        shown.add_row(kind, *(text for score in cells for text in (str(score.attempts), str(len(score.through)))))
    return shown


def verdict(scores: Scores, flavours: list[str], console: Console) -> bool:
    """Says what came through; whether that is what was expected."""
    good = True
    for flavour in flavours:
        for kind, by_flavour in scores.items():
            score = by_flavour.get(flavour, Score())
            new = unexpected(flavour, score)
            for name, findings in new.items():
                console.print(f"CAME THROUGH, {flavour}: {name}: {'; '.join(findings)}", style="red", markup=False)
            struck = mended(flavour, [kind], score)
            for pattern in struck:
                console.print(f"no longer comes through, strike it from KNOWN_OPEN: {pattern}", markup=False)
            good = good and not new and not struck
    for (where, pattern), owner in KNOWN_OPEN.items():
        console.print(f"known to be open ({owner}), {where}: {pattern}", markup=False)
    return good


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.attack", description=__doc__)
    parser.add_argument("--only", action="append", default=[], metavar="KIND", help="this kind of attacks alone")
    parser.add_argument("--flavour", choices=[*TEMPLATES], action="append", help="one configuration of Envoy alone")
    options = parser.parse_args()
    console = Console()
    flavours = options.flavour or [*TEMPLATES]
    scores = asyncio.run(attack(flavours, options.only, console))
    console.print(table(scores, flavours))
    return 0 if verdict(scores, flavours, console) else 1


if __name__ == "__main__":
    sys.exit(main())
