"""The page and the README's part come from results alone; what failed or is missing is named in them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from benchmarks import chapters
from benchmarks.__main__ import result_of
from benchmarks.chapters import CHAPTERS, TOTAL_SECONDS, find_section
from benchmarks.report.__main__ import main
from benchmarks.report.page import compose
from benchmarks.report.reading import newest, read_folder
from benchmarks.report.readme import BEGIN, END, ReadmeError, filled, images_of, part
from benchmarks.results import RESULTS, ROOT, Figure, Line, Result, write
from benchmarks.running_all import Outcome
from gateway_plugin.tools.bench.results import ResultError

MACHINE = {"cpu": "a CPU", "cpus": 2, "kernel": "6", "python": "3.13", "commit": "abc", "load_average_before": 0.5}


def result(name: str, **fields: Any) -> Result:
    machine: dict[str, Any] = MACHINE | {
        "command": f"python -m benchmarks.{name}",
        "versions": {"numpy": "2.1", "absent": None},
    }
    about: dict[str, Any] = {"name": name, "machine": machine, "load": {}, "repeats": 3}
    return Result(**(about | fields))


def short_section(result: Result, images: Path) -> str:
    images.mkdir(parents=True, exist_ok=True)
    (images / f"{result.name}-one.svg").write_text("<svg/>")
    return f"## All of {result.name}\n\n![How {result.name} goes](images/{result.name}-one.svg)\n"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for module in ("benchmarks.report.page",):
        monkeypatch.setattr(f"{module}.find_section", lambda name: short_section if name != "scale" else None)
    (tmp_path / "README.md").write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    return tmp_path


def test_the_page(root: Path) -> None:
    results = root / "results"
    promises = [Line("quick", 1.25, 2.0, "ms"), Line("small | cheap", 3000.0, 2.0, "us"), Line("seen", None, 1.0)]
    write(result("overhead", lines=promises, errors={"503": 2}), results)
    write(result("scale"), results)
    write(result("extra"), results)
    ended = [Outcome("overhead", "measured, but", 12.0), Outcome("soak", "failed with exit code 3: no disk", 1.0)]
    write(result_of(CHAPTERS, ended), results)
    page = compose(read_folder(results), root / "images")
    for text in (
        "Measured on a CPU, 2 CPUs, Linux 6, Python 3.13, commit abc.",
        "Versions: numpy 2.1.",
        "| `python -m benchmarks.overhead` | 12 s | 0.5 | **measured, but**; 2 errors (2 x 503), 0 timeouts |",
        "| `python -m benchmarks.soak` | 1 s | - | failed with exit code 3: no disk |",
        "1 of 3 hold; **2 do not**.",
        "| overhead: quick | 1.25 ms | 2 ms | yes |",
        "| **overhead: small \\| cheap** | **3,000 us** | **2 us** | **no** |",
        "| **overhead: seen** | **not measured** | **1** | **no** |",
        "## Soak\n\n**Not measured**: failed with exit code 3: no disk.",
        "## What routing gains\n\n**Not measured**: not run: stopped by hand.",
        "## Scale\n\nMeasured (scale.json), but without a section of its own.",
    ):
        assert text in page
    headings = [line for line in page.splitlines() if line.startswith("## ")]
    assert headings == [
        *("## Promises", "## All of overhead", "## What routing gains", "## Limits", "## Scale", "## Soak"),
        "## All of extra",
    ]


def test_results_of_several_machines_are_named(root: Path) -> None:
    write(result("overhead"), root)
    write(result("limits", machine=MACHINE | {"commit": "def"}), root)
    page = compose(read_folder(root), root / "images")
    assert "**These results are not of one machine and commit:**" in page
    assert "- limits: a CPU, 2 CPUs, Linux 6, Python 3.13, commit def" in page


def test_the_readme(root: Path) -> None:
    for name in ("overhead", "limits", "soak", "routing"):
        write(result(name, lines=[Line("low", 1.0, 2.0), Line("high", 3.0, 2.0)]), root)
    folder = read_folder(root)
    text = filled((root / "README.md").read_text(), part(folder, compose(folder, root / "docs/images")))
    assert text.startswith(f"before\n{BEGIN}\n![")
    assert text.endswith(f"\n{END}\nafter\n")
    assert text.count("![") == 3
    assert "limits 1 of 2, scale not measured (no result), soak 1 of 2. `make bench`" in text
    assert filled(text, part(folder, compose(folder, root / "docs/images"))) == text


def test_the_readmes_table(root: Path) -> None:
    seconds = {"random": 3.0, "least-request": 2.0, "prefix-cache-and-load": 0.5}
    figures = [Figure(f"chats/{name}/TTFT p99", "s", (value, value + 1, value - 1)) for name, value in seconds.items()]
    routing = result("routing")
    routing.figures = figures
    write(routing, root)
    assert "| chats | 3.00 | 2.00 | - | - | **0.50** |" in part(read_folder(root), "")


def test_a_readme_without_marks() -> None:
    with pytest.raises(ReadmeError, match="bench:begin"):
        filled("nothing here", "text")


def test_the_command_writes_all_and_removes_old_plots(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results, images = root / "results", root / "docs/images"
    write(result("overhead"), results)
    write(result("limits"), results)
    assert main([str(results), "--root", str(root)]) == 0
    (images / "of_another_page.svg").touch()
    (results / "limits.json").unlink()
    assert main([str(results), "--root", str(root)]) == 0
    assert {path.name for path in images.iterdir()} == {"overhead-one.svg", "of_another_page.svg"}
    assert "docs/images/overhead-one.svg" in (root / "README.md").read_text()
    capsys.readouterr()
    assert main([str(root / "nowhere"), "--root", str(root)]) == 1
    assert "no results in it" in capsys.readouterr().err


def test_the_newest_folder(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match="no results"):
        newest(tmp_path)
    for day in ("2026-01-31", "2026-02-01"):
        write(result("limits"), tmp_path / day)
    (tmp_path / "2026-03-01").mkdir()
    assert newest(tmp_path) == tmp_path / "2026-02-01"


def test_sections_that_are_absent_and_those_that_break(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_section("nothing") is None
    assert find_section("bench") is not None
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "needing_more.py").write_text("import what_is_not_installed")
    monkeypatch.setitem(chapters._ELSEWHERE, "needing", ("needing_more",))
    with pytest.raises(ModuleNotFoundError, match="what_is_not_installed"):
        find_section("needing")


def test_all_fit_into_a_quarter_of_an_hour() -> None:
    assert sum(chapter.seconds for chapter in CHAPTERS) <= TOTAL_SECONDS


def committed() -> Path | None:
    """The newest folder of results that git knows."""
    try:
        command = ["git", "-C", str(ROOT), "ls-files", str(RESULTS)]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        listed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10, env=environment).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    folders = sorted({(ROOT / line).parent for line in listed.splitlines() if line.endswith("/run.json")})
    return folders[-1] if folders else None


def test_documentation_agrees_with_the_committed_results(tmp_path: Path) -> None:
    results = committed()
    if results is None:
        pytest.skip("no results are committed")
    folder = read_folder(results)
    page = compose(folder, tmp_path)
    advice = "write it anew: python -m benchmarks.report"
    written = ROOT / "docs/benchmarks.md"
    assert written.exists(), advice
    assert written.read_text() == page, advice
    readme = (ROOT / "README.md").read_text()
    assert filled(readme, part(folder, page)) == readme, advice
    assert not [path for _, path in images_of(page) if not (ROOT / "docs" / path).exists()], advice
