"""gateway.lua: the response headers a client sees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway_plugin.endpoints.web_pages import ANSWER_HEADERS

if TYPE_CHECKING:
    from tests.unit.gateway_plugin.tools.envoy_config.conftest import Script

PODS = {"10.0.0.1:8000": "llama-0", "[fd00::2]:8000": "llama-1"}
ABOUT: dict[str, Any] = {"request_id": "r1", "strategy": "prefix-cache", "pods": PODS}


def client_headers(script: Script, about: dict[str, Any] | None, **headers: str) -> dict[str, str]:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    seen = script.run([], sent, about).headers
    del seen[":status"]
    return seen


def test_the_pod_that_served_is_named(script: Script) -> None:
    assert client_headers(script, ABOUT, target_pod_ip="[fd00::2]:8000") == {
        "x-went-into-req-headers": "true",
        "request-id": "r1",
        "x-request-id": "r1",
        "routing-strategy": "prefix-cache",
        "target-pod": "llama-1",
        "target-pod-ip": "[fd00::2]:8000",
    }


def test_a_pod_the_plugin_did_not_offer_has_an_address_but_no_name(script: Script) -> None:
    seen = client_headers(script, ABOUT, target_pod_ip="10.0.0.9:8000")
    assert seen["target-pod-ip"] == "10.0.0.9:8000"
    assert "target-pod" not in seen


def test_no_pod_served(script: Script) -> None:
    assert client_headers(script, ABOUT, target_pod_ip="-") == {
        "x-went-into-req-headers": "true",
        "request-id": "r1",
        "x-request-id": "r1",
        "routing-strategy": "prefix-cache",
    }


def test_without_a_strategy_no_pod_is_shown(script: Script) -> None:
    seen = client_headers(script, {"request_id": "r1"}, target_pod_ip="10.0.0.1:8000")
    assert seen == {"x-went-into-req-headers": "true", "request-id": "r1", "x-request-id": "r1"}


def test_headers_that_the_plugin_asks_for_are_set(script: Script) -> None:
    seen = client_headers(script, {"request_id": "r1", "headers": {"x-session-id": "00ff"}}, x_session_id="mine")
    assert seen["x-session-id"] == "00ff"


def test_which_pages_may_read_is_not_for_engines_to_say(script: Script) -> None:
    engines = {name.replace("-", "_"): "*" for name in ANSWER_HEADERS}
    about = {"request_id": "r1", "model": "m"}
    assert not set(client_headers(script, about, **engines)) & set(ANSWER_HEADERS)
    own = {"access-control-allow-origin": "https://a.test"}
    seen = client_headers(script, {**about, "headers": own}, **engines)
    assert {name: value for name, value in seen.items() if name in ANSWER_HEADERS} == own


def test_what_the_gateways_own_api_says_to_pages_stays(script: Script) -> None:
    seen = client_headers(script, {"request_id": "r1"}, access_control_allow_origin="https://a.test")
    assert seen["access-control-allow-origin"] == "https://a.test"


def test_without_the_plugin_nothing_is_added_and_no_address_leaks(script: Script) -> None:
    assert client_headers(script, None, target_pod_ip="10.0.0.1:8000", server="envoy") == {"server": "envoy"}


def test_a_pod_cannot_name_itself(script: Script) -> None:
    seen = client_headers(script, ABOUT, target_pod="evil", request_id="evil", target_pod_ip="10.0.0.1:8000")
    assert (seen["target-pod"], seen["request-id"]) == ("llama-0", "r1")


def test_metadata_that_cannot_be_used_leaves_the_response_alone(script: Script) -> None:
    usage = b'{"usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}}'
    response = script.run([usage], {"content-type": "application/json"}, {"request_id": 7})
    assert response.headers["content-type"] == "application/json"
    assert len(response.log) == 1
    assert response.usage["total_tokens"] == 3
