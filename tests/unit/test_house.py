"""What the plan of the house promises: few rooms, no circles, names that can be told apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.house.plan import (
    arrows,
    circles,
    circles_of_files,
    circles_of_rooms,
    rooms,
    shared_class_names,
    shared_file_names,
    sources,
)
from tests.house.way import way_of_a_request

HOUSE = sources()


def test_there_are_few_rooms_and_arrows():
    assert len(rooms(HOUSE)) <= 18
    assert len(arrows(HOUSE)) <= 45


def test_nothing_goes_in_circles():
    assert circles_of_files(HOUSE) == []
    assert circles_of_rooms(HOUSE) == []


def test_names_can_be_told_apart():
    assert len(shared_file_names(HOUSE)) <= 5
    assert len(shared_class_names(HOUSE)) <= 5


@pytest.mark.parametrize(
    ("links", "found"),
    [
        ({"a": {"b"}, "b": {"c"}, "c": set()}, []),
        ({"a": {"b"}, "b": {"a"}, "c": {"a"}}, [["a", "b"]]),
        ({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"e"}, "e": {"d", "a"}}, [["a", "b", "c"], ["d", "e"]]),
    ],
)
def test_circles_are_found(links: dict[str, set[str]], found: list[list[str]]):
    assert circles(links) == found


def test_imports_are_read(tmp_path: Path):
    package = tmp_path / "routing"
    package.mkdir()
    (package / "one.py").write_text("from routing import two\nfrom routing.three import Thing\n")
    (package / "two.py").write_text("class Thing: pass\n")
    (package / "three.py").write_text("import routing.two\nclass Thing: pass\n")
    house = sources(tmp_path)
    assert house["routing.one"].imports == {"routing.two", "routing.three"}
    assert shared_class_names(house) == {"Thing": ["routing.three", "routing.two"]}


def test_a_request_takes_its_way():
    way = way_of_a_request()
    assert "gateway_plugin.exchange.exchange" in way.modules
    assert 10 < way.changes_of_room <= 60
    assert len(way.modules) <= 25
