"""YAML without what makes a small text large."""

from __future__ import annotations

import pytest

from gateway_plugin.settings import plain_yaml
from gateway_plugin.settings.loading import SettingsError, load
from gateway_plugin.settings.plain_yaml import MAX_BYTES, PlainYamlError

MERGE_BOMB = "a0: &a0 {k: 1}\n" + "".join(
    f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 9)
)


@pytest.mark.parametrize("text", [MERGE_BOMB, "a: &x [1]\nb: *x", "- &x []\n- [*x, *x]"])
def test_aliases_are_refused_before_anything_is_made_of_them(text):
    with pytest.raises(PlainYamlError, match=r"aliases \(\*\w+\) are not allowed, line \d"):
        plain_yaml.load(text)


def test_more_than_configuration_needs_is_not_even_read():
    with pytest.raises(PlainYamlError, match="more than"):
        plain_yaml.load(b" " * (MAX_BYTES + 1))


@pytest.mark.parametrize("text", ["[" * 5000, "{a: " * 5000, "a: b: c", "\x00", "- !!python/object:os.system {}"])
def test_what_is_no_plain_yaml_is_an_error_and_no_crash(text):
    with pytest.raises(PlainYamlError):
        plain_yaml.load(text)


def test_a_key_that_stands_twice_is_refused():
    with pytest.raises(PlainYamlError, match="'a' stands twice, line 2"):
        plain_yaml.load("a: 1\na: 2")


def test_a_list_as_key_is_refused():
    with pytest.raises(PlainYamlError):
        plain_yaml.load("? [1, 2]\n: 3")


def test_anchors_that_nobody_uses_and_one_merge_are_harmless():
    assert plain_yaml.load("a: &x {b: 1}\nc: {<<: {d: 2}}") == {"a": {"b": 1}, "c": {"d": 2}}


def test_the_configuration_is_read_the_same_way(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(MERGE_BOMB)
    with pytest.raises(SettingsError, match="aliases"):
        load(path, {})
