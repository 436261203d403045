"""A value of a configuration file together with its place, so that every mistake can be named exactly.

Written by hand rather than as a schema: schema libraries report unions ("text or mapping") once per branch, and know
nothing of what is allowed in words.
"""

from __future__ import annotations

import reprlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway_plugin.pods.addresses import MAX_PORT
from gateway_plugin.settings.nearest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

_SHOWN_CHARACTERS = 80
"""Of a bad value, in messages."""
_shown = reprlib.Repr()
_shown.maxstring = _shown.maxother = _SHOWN_CHARACTERS


class EndpointsError(ValueError):
    """A mistake in an endpoints file: which file, where in it, what is there, what may be there."""

    def __init__(self, path: Path, where: str, value: str, allowed: str) -> None:
        super().__init__(f"{path}: {where} is {value}; allowed: {allowed}")
        self.path = path
        self.where = where
        self.value = value
        self.allowed = allowed


@dataclass(frozen=True, slots=True)
class Node:
    """`where` is a key path like `models[1].endpoints[0]`."""

    path: Path
    where: str
    value: object

    def error(self, allowed: str, value: str = "") -> EndpointsError:
        """The mistake at this place; `value` where the value itself says too little."""
        return EndpointsError(self.path, self.where, value or _shown.repr(self.value), allowed)

    def text(self, allowed: str) -> str:
        """A text that is not blank."""
        if not isinstance(self.value, str) or not self.value.strip():
            raise self.error(allowed)
        return self.value

    def port(self) -> int:
        """A TCP port."""
        if type(self.value) is not int or not 1 <= self.value <= MAX_PORT:
            raise self.error(f"a port from 1 to {MAX_PORT}")
        return self.value

    def truth(self) -> bool:
        """true or false, and no word for it."""
        if not isinstance(self.value, bool):
            raise self.error("true or false")
        return self.value

    def texts(self, allowed: str) -> dict[str, str]:
        """A mapping of text to text."""
        if not isinstance(self.value, dict) or not all(
            isinstance(part, str) for pair in self.value.items() for part in pair
        ):
            raise self.error(allowed)
        return dict(self.value)

    def items(self, allowed: str) -> list[Node]:
        """The entries of a list."""
        if not isinstance(self.value, list):
            raise self.error(allowed)
        return [Node(self.path, f"{self.where}[{index}]", value) for index, value in enumerate(self.value)]

    def fields(self, known: Collection[str], required: Collection[str], allowed: str) -> dict[str, Node]:
        """The entries of a mapping: none but known keys, all the required ones."""
        if not isinstance(self.value, dict):
            raise self.error(allowed)
        fields = {key: self._field(str(key), value) for key, value in self.value.items()}
        for key, field in fields.items():
            if key not in known:
                raise field.error(f"the keys {', '.join(known)}{did_you_mean(str(key), known)}", "an unknown key")
        for key in required:
            if key not in fields:
                raise self._field(key, None).error(allowed, "missing")
        return fields

    def _field(self, key: str, value: object) -> Node:
        # The root has the place "the file"; its keys stand alone.
        return Node(self.path, key if self.where == "the file" else f"{self.where}.{key}", value)
