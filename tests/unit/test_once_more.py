"""Tests that are tried once more: few, only those on record, and named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import once_more


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "lastfailed"
    monkeypatch.setattr(once_more, "_RECORD", path)
    return path


def module_of(tmp_path: Path, body: str) -> str:
    path = tmp_path / "test_of_once_more.py"
    path.write_text(f"def test_it():\n    {body}\n")
    return f"{path}::test_it"


@pytest.mark.parametrize(
    "names", [None, [], [f"tests/test_{n}.py::test" for n in range(once_more.MOST_UNSTEADY_TESTS + 1)]]
)
def test_none_and_many_fail_as_they_stand(record: Path, names: list[str] | None):
    if names is not None:
        record.write_text(json.dumps(dict.fromkeys(names, True)))
    assert once_more.main() == 1


@pytest.mark.parametrize(("body", "code"), [("pass", 0), ("assert False", 1)])
def test_a_few_are_judged_by_how_they_end_alone(record: Path, tmp_path: Path, body: str, code: int, capsys):
    test = module_of(tmp_path, body)
    record.write_text(json.dumps({test: True}))
    assert once_more.main() == code
    assert ("unsteady" in capsys.readouterr().out) == (code == 0)
