"""The page on clients says what their tests try."""

from __future__ import annotations

from pathlib import Path

from tests.clients.__main__ import ENVIRONMENTS
from tests.clients.table import FEATURES, HERE, PYTHON, clients, features_of_node, features_of_python, table

PAGE = Path(__file__).parents[3] / "docs" / "compatibility.md"


def test_the_page_has_the_table():
    assert table() in PAGE.read_text(), "python -m tests.clients.table prints it"


def test_every_mark_is_a_column_and_every_column_has_a_mark():
    assert set().union(*clients().values()) == set(FEATURES)


def test_every_check_is_run_and_in_the_table():
    files = {path.name for path in (HERE / "sdks").glob("check_*.py")}
    assert files == {name for names in ENVIRONMENTS.values() for name in names}
    assert files <= {path.name for path in PYTHON.values()}


def test_marks_are_read():
    source = "@pytest.mark.feature('a', 'b')\nasync def test_x(): ...\n@pytest.mark.skip('c')\ndef test_y(): ..."
    assert features_of_python(source) == {"a", "b"}
    assert features_of_node('check("x", "a"); check("y", "b")', "x") == {"a"}
