"""`python -m tests.mutation PATH... [--tests PATH...]`: changes the code in small ways, and lists what no test notices.

mutmut works on a copy in `build/mutation`, with the tests of the directory that mirrors each file's, about a second a
change. A survivor is a question: is there a promise that no test holds, or a line that nothing needs? Wordings (`repr`,
logs, messages) survive rightly.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
WORK = ROOT / "build" / "mutation"
DECIDES = ("routing", "ratelimit", "gateway_plugin/exchange")
"""What decides, and is worth it."""
_COPIED = ("gateway_plugin", "routing", "ratelimit", "protos", "simulator", "benchmarks", "deploy", "tests")


class MutationError(ValueError):
    """A path that cannot be mutated; the text says why."""


def checked(path: str) -> str:
    """The path of one file below the root; raises MutationError."""
    if not path.endswith(".py") or not (ROOT / path).is_file():
        raise MutationError(f"{path}: no Python file of this repository")
    if not path.startswith(tuple(f"{room}/" for room in DECIDES)):
        raise MutationError(f"{path}: not below {', '.join(DECIDES)}")
    return path


def mirror_of(path: str) -> str:
    """The nearest directory of unit tests that mirrors the file's."""
    mirror = Path("tests/unit", path).parent
    while not (ROOT / mirror).is_dir():
        mirror = mirror.parent
    return str(mirror)


def section(paths: list[str], tests: list[str]) -> str:
    """What mutmut reads in pyproject.toml."""
    sources = sorted({path.partition("/")[0] for path in paths})
    settings = {
        "source_paths": sources,
        "only_mutate": paths,
        "also_copy": [name for name in (*_COPIED, "README.md") if name not in sources],
        "pytest_add_cli_args": ["-q", "-x", "-p", "no:cacheprovider"],
        "pytest_add_cli_args_test_selection": tests,
    }
    return "\n[tool.mutmut]\n" + "".join(f"{name} = {value!r}\n" for name, value in settings.items())


def prepare(paths: list[str], tests: list[str]) -> None:
    """A fresh copy of what is needed."""
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    for name in _COPIED:
        shutil.copytree(ROOT / name, WORK / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("README.md", "LICENSE"):
        shutil.copy(ROOT / name, WORK / name)
    (WORK / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text() + section(paths, tests))


def mutmut(*arguments: str, shown: bool = False) -> str:
    """Its output; nicely, as it takes a while."""
    command = ["nice", sys.executable, "-m", "mutmut", *arguments]
    done = subprocess.run(command, cwd=WORK, text=True, stdout=None if shown else subprocess.PIPE, check=False)
    return done.stdout or ""


def survivors() -> list[str]:
    """Their names."""
    found = (line.strip().rpartition(": ") for line in mutmut("results").splitlines())
    return [name for name, _, state in found if state == "survived"]


def main() -> int:
    """Exit code 2: a path that cannot be mutated."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation")
    parser.add_argument("paths", nargs="+", help=f"files below {', '.join(DECIDES)}")
    parser.add_argument("--tests", nargs="+", help="directories or files of tests; else those that mirror the paths")
    parser.add_argument("--children", default="1", help="changes that are tried at once")
    arguments = parser.parse_args()
    try:
        paths = [checked(path) for path in arguments.paths]
    except MutationError as error:
        print(error, file=sys.stderr)
        return 2
    prepare(paths, arguments.tests or sorted({mirror_of(path) for path in paths}))
    mutmut("run", "--max-children", arguments.children, shown=True)
    left = survivors()
    for name in left:
        print(mutmut("show", name))
    print(f"{len(left)} changes that no test notices")
    return 0


if __name__ == "__main__":
    sys.exit(main())
