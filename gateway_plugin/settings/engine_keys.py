"""Keys that engines want for themselves: the gateway sets them upstream, in place of whatever the client sent.

A file maps models to keys; for all others there is one default. Keys are secrets: no error and no repr tells them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gateway_plugin.settings import plain_yaml

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# What a header may hold.
_KEY = re.compile(r"[!-~]{1,4096}")


class EngineKeysError(ValueError):
    """The keys cannot be used; the text names the file and the model, and no key."""


class EngineKeys:
    """By model; empty: the engine wants none, and the client's own credentials go on."""

    def __init__(self, default: str = "", by_model: Mapping[str, str] | None = None) -> None:
        self._default = default
        self._by_model = dict(by_model or {})

    def __bool__(self) -> bool:
        return bool(self._default or self._by_model)

    def __repr__(self) -> str:
        return f"EngineKeys({len(self._by_model)} models, {'a' if self._default else 'no'} default)"

    def of(self, model: str) -> str:
        """The key of a model's engines."""
        return self._by_model.get(model, self._default)


NO_ENGINE_KEYS = EngineKeys()


def read_engine_keys(default: str, file: Path | None) -> EngineKeys:
    """Raises EngineKeysError."""
    if default and not _KEY.fullmatch(default):
        raise EngineKeysError("engine_api_key: must be printable ASCII without spaces")
    if file is None:
        return EngineKeys(default)
    try:
        content = plain_yaml.load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise EngineKeysError(f"engine_api_keys_file {file}: {error.strerror}") from None
    except ValueError:
        raise EngineKeysError(f"engine_api_keys_file {file}: not YAML") from None
    if not isinstance(content, dict):
        raise EngineKeysError(f"engine_api_keys_file {file}: must map models to keys")
    for model, key in content.items():
        if not isinstance(key, str) or not _KEY.fullmatch(key):
            raise EngineKeysError(f"engine_api_keys_file {file}: the key of {model} must be text without spaces")
    return EngineKeys(default, {str(model): key for model, key in content.items()})
