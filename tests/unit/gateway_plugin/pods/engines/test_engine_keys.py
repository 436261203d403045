"""Keys of engines: per model and for all others, from the environment and a file, and never told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway_plugin.settings.engine_keys import EngineKeys, EngineKeysError, read_engine_keys

if TYPE_CHECKING:
    from pathlib import Path


def test_a_model_has_its_own_key_or_the_default(tmp_path: Path):
    file = tmp_path / "keys.yaml"
    file.write_text("org/m: sk-own\n")
    keys = read_engine_keys("sk-default", file)
    assert (keys.of("org/m"), keys.of("other"), bool(keys)) == ("sk-own", "sk-default", True)
    assert "sk-" not in repr(keys)
    assert not read_engine_keys("", None)
    assert EngineKeys(by_model={"m": "k"}).of("n") == ""


@pytest.mark.parametrize(
    ("text", "named"),
    [("m: 5", "the key of m"), ("m: 'sk secret'", "the key of m"), ("- sk-secret", "map models"), ("{", "not YAML")],
)
def test_keys_that_cannot_be_used(tmp_path: Path, text: str, named: str):
    file = tmp_path / "keys.yaml"
    file.write_text(text)
    with pytest.raises(EngineKeysError, match=named) as raised:
        read_engine_keys("", file)
    assert "secret" not in str(raised.value)
    with pytest.raises(EngineKeysError, match="No such file"):
        read_engine_keys("", tmp_path / "none")
    with pytest.raises(EngineKeysError, match="engine_api_key: must be"):
        read_engine_keys("sk\nsecret", None)
