"""`python -m tests.real_kubernetes [FLOW...]`: builds what is missing, runs the flows, prints a table of them."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.real_kubernetes import namespaces, toolchain
from tests.real_kubernetes.cluster import TestCluster
from tests.real_kubernetes.flows import FLOWS
from tests.real_kubernetes.results import Result


async def _run(names: list[str], directory: Path) -> list[Result]:
    cluster = TestCluster(directory)
    results = []
    try:
        began = time.monotonic()
        await cluster.start()
        print(f"the cluster is up after {time.monotonic() - began:.1f} s", flush=True)  # noqa: T201 - for a person
        for name, flow in FLOWS.items():
            if names and name not in names and name != "install":
                continue
            began = time.monotonic()
            result = Result(name)
            try:
                await flow(cluster, result)
            except Exception as error:  # noqa: BLE001 - the next flow is worth trying
                result.errors.append(f"{type(error).__name__}: {error}")
            result.seconds = time.monotonic() - began
            print(result.line(), flush=True)  # noqa: T201 - for a person
            results.append(result)
    finally:
        await cluster.stop()
    return results


def _table(results: list[Result]) -> Table:
    table = Table("flow", "holds", "requests", "failed", "recovery s", "API calls", "seconds", "notes")
    for one in results:
        table.add_row(*one.cells())
    return table


def main() -> int:
    """Exit code: 1 when a flow did not end as promised."""
    parser = argparse.ArgumentParser(prog="tests.real_kubernetes")
    parser.add_argument("flows", nargs="*", choices=[*FLOWS, []], help="only these (after the installation)")
    parser.add_argument("--keep", type=Path, help="directory for logs that stays")
    options = parser.parse_args()
    if not namespaces.is_inside():
        toolchain.build()
    namespaces.enter()
    directory = options.keep or Path(tempfile.mkdtemp(prefix="cluster."))
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True, exist_ok=True)
    results = asyncio.run(_run(options.flows, directory))
    Console(width=150).print(_table(results))
    bad = [one for one in results if one.errors]
    print(f"{len(results) - len(bad)} passed, {len(bad)} failed")  # noqa: T201 - for a person
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
