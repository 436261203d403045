"""What `make mutate` may change, and with which tests."""

from __future__ import annotations

import tomllib

import pytest

from tests.mutation.__main__ import MutationError, checked, mirror_of, section


@pytest.mark.parametrize(
    ("path", "mirror"),
    [
        ("routing/pods/books.py", "tests/unit/routing/pods"),
        ("routing/router.py", "tests/unit/routing"),
        ("ratelimit/rare_log.py", "tests/unit/ratelimit"),
        ("gateway_plugin/exchange/intent/request.py", "tests/unit/gateway_plugin/exchange/intent"),
    ],
)
def test_a_files_tests_stand_in_the_nearest_mirror(path: str, mirror: str):
    assert mirror_of(checked(path)) == mirror


@pytest.mark.parametrize("path", ["routing/nothing.py", "routing/pods", "gateway_plugin/app/process.py", "../x.py"])
def test_only_files_of_what_decides_are_changed(path: str):
    with pytest.raises(MutationError, match=path):
        checked(path)


def test_what_mutmut_reads():
    read = tomllib.loads(section(["routing/router.py"], ["tests/unit/routing"]))["tool"]["mutmut"]
    assert read["source_paths"] == ["routing"]
    assert read["only_mutate"] == ["routing/router.py"]
    assert "routing" not in read["also_copy"]
    assert "tests" in read["also_copy"]
