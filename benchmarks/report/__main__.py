"""`python -m benchmarks.report [DIR]`: docs/benchmarks.md, its images and the README's part from results."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.report.page import compose
from benchmarks.report.reading import newest, read_folder
from benchmarks.report.readme import ReadmeError, filled, images_of, part
from benchmarks.results import ROOT
from gateway_plugin.tools.bench.results import ResultError

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 1 when there is nothing to write from."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=(__doc__ or "").partition(": ")[2])
    parser.add_argument("results", type=Path, nargs="?", help="folder of results; default: the newest there is")
    parser.add_argument("--root", type=Path, default=ROOT, help="where README.md and docs/ are")
    options = parser.parse_args(argv)
    try:
        for path in write_report(options.results or newest(), options.root):
            print(f"wrote {path}")
    except (ReadmeError, ResultError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def write_report(results: Path, root: Path) -> list[Path]:
    """The page, its images, and the README's part if there is a README; raises ResultError and ReadmeError."""
    folder = read_folder(results)
    page_path, readme_path = root / "docs/benchmarks.md", root / "README.md"
    before = page_path.read_text() if page_path.exists() else ""
    page_path.parent.mkdir(parents=True, exist_ok=True)
    page = compose(folder, page_path.parent / "images")
    page_path.write_text(page)
    # Images that the last report had and this one has not would stay for ever.
    for path in {path for _, path in images_of(before)} - {path for _, path in images_of(page)}:
        (page_path.parent / path).unlink(missing_ok=True)
    if not readme_path.exists():
        return [page_path]
    readme_path.write_text(filled(readme_path.read_text(), part(folder, page)))
    return [page_path, readme_path]


if __name__ == "__main__":
    sys.exit(main())
