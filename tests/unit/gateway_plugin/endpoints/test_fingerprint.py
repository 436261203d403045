"""What Envoy and the plugin must agree on."""

from __future__ import annotations

import pytest

from gateway_plugin.endpoints.fingerprint import differences, fingerprint

PATHS = ("/v1/a", "/v1/b")
MIB = 1 << 20


@pytest.mark.parametrize(
    ("envoy", "words"),
    [
        (fingerprint("access_log", 64 * MIB, PATHS), []),
        (fingerprint("access_log", 64 * MIB, reversed(PATHS)), []),
        ("", []),
        ("nonsense", []),
        ("body_limit=x;accounting=access_log", []),
        (fingerprint("ext_proc", 64 * MIB, PATHS), ["accounting ext_proc"]),
        (fingerprint("access_log", 65 * MIB, PATHS), ["bodies of"]),
        (fingerprint("access_log", MIB, ("/v1/a",)), ["other paths"]),
        (fingerprint("none", 65 * MIB, ()), ["accounting none", "bodies of", "other paths"]),
    ],
)
def test_what_differs_is_told(envoy: str, words: list[str]):
    found = differences(envoy, "access_log", 65 * MIB, PATHS)
    assert len(found) == len(words)
    for one, word in zip(found, words, strict=True):
        assert word in one.message
        assert one.fix
