"""`make house`: the plan of the house in figures, and what stands behind each that is not 0."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table

from tests.house.plan import (
    arrows,
    circles_of_files,
    circles_of_rooms,
    rooms,
    shared_class_names,
    shared_file_names,
    sources,
)
from tests.house.way import way_of_a_request


def main() -> None:
    """Prints the table; with any argument, the lists behind it, too."""
    house, way = sources(), way_of_a_request()
    table = Table("what", "count", title="the house", show_edge=False)
    lists: dict[str, object] = {
        "rooms of gateway_plugin": sorted(rooms(house)),
        "arrows between them": sorted(arrows(house)),
        "circles of files": circles_of_files(house),
        "circles of rooms": circles_of_rooms(house),
        "modules on a request's way": way.modules,
        "file names that stand twice": list(shared_file_names(house).items()),
        "class names that stand twice": list(shared_class_names(house).items()),
    }
    for what, found in lists.items():
        table.add_row(what, str(len(found)))  # type: ignore[arg-type]  # all are lists
    table.add_row("changes of room on it", str(way.changes_of_room))
    console = Console()
    console.print(table)
    if sys.argv[1:]:
        for what, found in lists.items():
            console.print(f"\n[bold]{what}[/bold]", *found, sep="\n")  # type: ignore[misc]  # all are lists


if __name__ == "__main__":
    main()
