"""Broken and slow benchmarks do not stop the others, and are called what they are. They are real processes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.chapters import Chapter
from benchmarks.results import Line, Result, read, write
from benchmarks.running_all import Outcome, run_all

GOOD = """
import sys
from pathlib import Path
from benchmarks.results import Line, Result, write
lines = [Line("low", {measured}, 2.0)]
result = Result(name="{name}", machine={{}}, load=0, repeats=1, lines=lines, errors={errors})
write(result, Path(sys.argv[sys.argv.index("--out") + 1]))
print(sys.argv)
sys.exit({code})
"""
PACKAGE = "benchmarks_of_a_test"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    package = tmp_path / PACKAGE
    package.mkdir()
    (package / "__init__.py").touch()
    for name, code, measured, errors in (
        ("good", 0, 1.0, {"503": 0}),
        ("broken_promise", 1, 3.0, {}),
        ("refused", 1, 1.0, {"503": 2}),
        ("odd", 2, 1.0, {}),
    ):
        text = GOOD.format(name=name, code=code, measured=measured, errors=errors)
        (package / f"{name}.py").write_text(text)
    (package / "crashing.py").write_text("raise ValueError('what a pity')")
    (package / "slow.py").write_text("import time\ntime.sleep(30)")
    (package / "stubborn.py").write_text(
        "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\ntime.sleep(30)"
    )
    (package / "telling.py").write_text("import sys\nsys.exit(sys.executable)")
    monkeypatch.delitem(sys.modules, PACKAGE, raising=False)  # of another test's folder
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def run(folder: Path, *names: str, seconds: int = 20, arguments: tuple[str, ...] = ()) -> list[Outcome]:
    chapters = [Chapter(name, name.title(), seconds, ("--own",), PACKAGE) for name in names]
    return list(run_all(chapters, folder, folder / "logs", arguments, lambda chapter, seconds: None))


def test_each_is_called_what_it_is(folder: Path) -> None:
    said = {each.name: each for each in run(folder, "crashing", "absent", "broken_promise", "refused", "odd", "good")}
    assert said["good"].ok
    assert said["absent"] == Outcome("absent", f"there is no {PACKAGE}.absent", 0.0)
    assert said["broken_promise"].ok  # the report says it
    assert said["refused"].said == "measured, but: 2 errors (2 x 503), 0 timeouts."
    assert said["odd"].said == "measured, but ended with exit code 2"
    assert said["crashing"].said.startswith("failed with exit code 1")
    assert said["crashing"].said.endswith("ValueError: what a pity")


def test_arguments_reach_the_benchmark(folder: Path) -> None:
    run(folder, "good", arguments=("--quick",))
    assert f"'--out', '{folder}', '--own', '--quick'" in (folder / "logs/good.log").read_text()


def test_a_whole_run_names_what_broke(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    result = Result(name="measuring", machine={}, load={}, repeats=1, lines=[Line("low", 3.0, 2.0)])
    ready = write(result, folder / "ready")
    (folder / PACKAGE / "measuring.py").write_text(
        f"import shutil, sys\nshutil.copy({str(ready)!r}, sys.argv[2])\nassert sys.argv[1] == '--out'"
    )
    chapters = [Chapter(name, name.title(), 20, (), PACKAGE) for name in ("measuring", "crashing")]
    monkeypatch.setattr("benchmarks.__main__.CHAPTERS", chapters)
    monkeypatch.setattr("benchmarks.__main__.LOGS", folder / "logs")
    out = folder / "out"
    out.mkdir()
    assert main(["--quick", "--out", str(out)]) == 1
    outcomes = read(out / "run.json").series["outcomes"]
    assert outcomes["measuring"] == "measured"
    assert outcomes["crashing"].startswith("failed with exit code 1")
    assert "| **measuring: low** | **3** | **2** | **no** |" in (out / "report/docs/benchmarks.md").read_text()
    assert "does not hold: measuring: low: 3 , at most 2" in capsys.readouterr().out
    assert main(["--quick", "--only", "measuring", "--out", str(out)]) == 0


def test_an_older_result_is_not_this_run_s(folder: Path) -> None:
    (folder / "crashing.json").write_text("{}")
    assert run(folder, "crashing")[0].said.startswith("failed")
    assert not (folder / "crashing.json").exists()


def test_time_is_up(folder: Path) -> None:
    slow, good = run(folder, "slow", "good", seconds=1)
    assert slow.said == "stopped, as it took more than 1 s"
    assert good.name == "good", "the next one still had its turn"


def test_no_time_is_left(folder: Path) -> None:
    assert run(folder, "good", seconds=0)[0].said == "not run: the others took all the time"


def test_what_does_not_stop_is_stopped(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.running_all.END_SECONDS", 0.3)
    assert run(folder, "stubborn", seconds=1)[0].said.startswith("stopped")


def test_a_quick_one_leaves_its_time_to_the_next(folder: Path) -> None:
    told: list[float] = []
    chapters = [Chapter("good", "", 15, (), PACKAGE), Chapter("slow", "", 0, (), PACKAGE)]

    def tick(chapter: Chapter, seconds: float) -> None:
        if chapter.name == "slow":
            told.append(seconds)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(run_all(chapters, folder, folder / "logs", (), tick))
    assert told, "with no time left it would not have been waited for at all"


def test_this_python_runs_them(folder: Path) -> None:
    assert sys.executable in run(folder, "telling")[0].said
