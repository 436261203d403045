"""What an operator may add to the table of endpoints; all else stops the start."""

from __future__ import annotations

import pytest

from gateway_plugin.endpoints.endpoint_table import ENDPOINTS
from gateway_plugin.endpoints.extra_paths import MANAGEMENT, MAX_PATHS, parse_extra_paths
from gateway_plugin.settings.loading import SettingsError, load


def test_exact_paths_are_taken_once():
    assert parse_extra_paths(" /generate,/v1/a.b_c~d-e , /generate,") == ("/generate", "/v1/a.b_c~d-e")
    assert parse_extra_paths("") == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        *((path, "no exact path") for path in ("generate", "/", "/a/", "//a", "/a//b", "/a/../b", "/.a", "/a/.")),
        *((path, "no exact path") for path in ("/a?b", "/a;b", "/a%2fb", "/a*", "/{id}", "/a b", "/ä", "/a#b")),
        *((path, "no exact path") for path in ("http://h/a", "/" + "a" * 200, "/a\\b", "/a\nb")),
        *((path, "never published") for path in sorted(MANAGEMENT)),
        *((row.path, "an endpoint already") for row in ENDPOINTS if row.is_exact),
        *((path, "an endpoint already") for path in ("/v1/models/x", "/v1/responses/resp_1")),
        (",".join(f"/p{number}" for number in range(MAX_PATHS + 1)), f"allowed: {MAX_PATHS}"),
    ],
)
def test_what_is_wrong_is_said(text: str, said: str):
    with pytest.raises(ValueError, match=said):
        parse_extra_paths(text)


def test_the_start_stops_with_key_and_value():
    with pytest.raises(SettingsError, match=r"extra_paths = '/sleep' .*'/sleep' manages engines"):
        load(environ={"GATEWAY_EXTRA_PATHS": "/sleep"})
