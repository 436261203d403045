"""Keys of engines: per model and for all others, from the environment and a file, and never told."""

from __future__ import annotations

import asyncio
import contextlib
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
    with pytest.raises(EngineKeysError, match=r"engines\.api_key: must be"):
        read_engine_keys("sk\nsecret", None)


@pytest.mark.looptime
async def test_keys_follow_their_file_and_a_bad_one_leaves_the_last_good_ones(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    file = tmp_path / "keys"
    (tmp_path / "first").write_text("m: sk-1\n")
    (tmp_path / "second").write_text("m: sk-2\nn: sk-3\n")
    (tmp_path / "bad").write_text("m: sk secret\n")
    file.symlink_to("first")
    keys = read_engine_keys("", file)
    following = asyncio.create_task(keys.run())
    seen = []
    for target in ("first", "second", "bad", "first"):
        (tmp_path / "new").symlink_to(target)
        (tmp_path / "new").rename(file)
        await asyncio.sleep(2.5)
        seen.append((keys.of("m"), keys.of("n")))
    file.unlink()
    await asyncio.sleep(2.5)
    seen.append((keys.of("m"), keys.of("n")))
    following.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await following
    first, second = ("sk-1", ""), ("sk-2", "sk-3")
    assert seen == [first, second, second, first, first]
    assert "secret" not in caplog.text
    assert [record.levelname for record in caplog.records].count("ERROR") == 2


async def test_without_a_file_there_is_nothing_to_follow():
    await read_engine_keys("sk-default", None).run()
