"""Settings as they may be shown: every value as text, and of secrets only whether they are set."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, SecretStr

if TYPE_CHECKING:
    from collections.abc import Mapping

MASK = "<secret>"


def shown_settings(settings: BaseModel, origins: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Value and origin by name; settings within settings are named with a dot between."""
    return {name: (shown_value(value), origins.get(name, "")) for name, value in _flat(settings, "")}


def shown_value(value: object) -> str:
    """One value."""
    if isinstance(value, SecretStr):
        return MASK if value.get_secret_value() else ""
    return "" if value is None else str(value)


def _flat(settings: BaseModel, before: str) -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = []
    for name, value in settings:
        if isinstance(value, BaseModel):
            found += _flat(value, f"{before}{name}.")
        else:
            found.append((before + name, value))
    return found
