"""The start says plainly what proves who asks, and for whom that is."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from gateway_plugin.app.announcing import announce
from gateway_plugin.settings.settings import Settings


@pytest.mark.parametrize(
    ("settings", "said", "warned"),
    [
        ({}, "proven by: header; requests in nobody's name: allow", True),
        (
            {"api_keys": True, "anonymous": "limit"},
            "proven by: api-key, header; requests in nobody's name: limit",
            True,
        ),
        ({"identity_proofs": "api-key"}, "proven by: api-key; requests in nobody's name: 401", False),
        ({"auth_bearer_token": "t0p"}, "proven by: bearer; requests in nobody's name: allow", False),
    ],
)
def test_what_proves_who_asks(
    settings: dict[str, Any], said: str, warned: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    file = tmp_path / "endpoints.yaml"
    file.write_text("")
    with caplog.at_level(logging.INFO):
        announce(Settings.model_validate({"pods": {"endpoints_file": file}, "identity": settings}))
    assert said in caplog.text
    assert ("only for networks where all who reach Envoy are trusted" in caplog.text) is warned
    assert "t0p" not in caplog.text
