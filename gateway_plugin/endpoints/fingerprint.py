"""What Envoy's configuration and the plugin must agree on, in a line that Envoy sends along with every call.

`gateway-plugin envoy-config` writes it into Envoy's configuration. Where the two were made from different settings,
nothing fails: requests are answered, and nobody is charged.
"""

from __future__ import annotations

from hashlib import blake2s
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

FINGERPRINT_HEADER = "x-gateway-fingerprint"
"""Among the headers of Envoy's call to the plugin."""
MAX_CHARACTERS = 200
"""Of one that is repeated to people."""
_ABOVE_BODY_BYTES = 1 << 20
"""What a message must take beyond the body that it carries."""


class Difference(NamedTuple):
    """One thing that does not fit, and its mend."""

    message: str
    fix: str


def fingerprint(accounting: str, body_limit_bytes: int, paths: Iterable[str]) -> str:
    """Of one side."""
    return f"accounting={accounting};body_limit={body_limit_bytes};paths={_short(paths)}"


def differences(envoy: str, accounting: str, message_bytes: int, paths: Iterable[str]) -> list[Difference]:
    """Between what Envoy says and how the plugin is set; none where Envoy says nothing, as one of another making."""
    said = dict(part.split("=", 1) for part in envoy[:MAX_CHARACTERS].split(";") if "=" in part)
    anew = "write Envoy's configuration anew with the plugin's settings (gateway-plugin envoy-config)"
    found = []
    if (theirs := said.get("accounting")) not in (None, accounting):
        message = (
            f"Envoy's configuration was made for accounting {theirs}, the plugin has {accounting}: tokens get lost"
        )
        found.append(Difference(message, f"{anew}, or set usage.accounting"))
    limit = said.get("body_limit", "")
    if limit.isdecimal() and int(limit) + _ABOVE_BODY_BYTES > message_bytes:
        message = f"Envoy lets bodies of {limit} bytes pass, the plugin takes messages of {message_bytes}"
        found.append(Difference(message, "listeners.grpc_max_message_bytes must be 1 MiB above Envoy's body limit"))
    if said.get("paths") not in (None, _short(paths)):
        message = "Envoy's configuration has other paths than the plugin: some are 404 on one side only"
        found.append(Difference(message, f"{anew}; endpoints.extra_paths must be the same"))
    return found


def _short(paths: Iterable[str]) -> str:
    return blake2s("\n".join(sorted(paths)).encode(), digest_size=4).hexdigest()
