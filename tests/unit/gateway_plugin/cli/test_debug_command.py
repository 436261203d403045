"""`gateway-plugin request`, `decisions`, ...: what they print of a plugin's answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from typer.testing import CliRunner

from gateway_plugin.cli.application import cli

DECISION = {
    "at_seconds": 1000.5,
    "request_id": "r-1",
    "user": "kim",
    "model": "m",
    "path": "/v1/chat/completions",
    "strategy": "least-request",
    "branch": "least_request",
    "targets": [{"pod": "pod-1", "address": "10.0.0.1:8000"}, {"pod": "pod-2", "address": "10.0.0.2:8000"}],
    "weighed": [
        {"pod": "pod-1", "address": "10.0.0.1:8000", "cost": 1.0, "terms": {"requests": 1.0}, "matched_tokens": 0},
        {"pod": "pod-2", "address": "10.0.0.2:8000", "cost": None, "terms": {"requests": None}, "matched_tokens": 0},
    ],
    "decided_after_seconds": 0.0012,
    "reserved_tokens": 40,
    "allowance": {"rpm": 100, "requests_used": 3.0, "tpm": 1000, "tokens_used": 250.0},
    "end": None,
}
END = {
    "number": 9,
    "at_seconds": 1002.0,
    "status": 200,
    "reason": "",
    "pod_address": "10.0.0.2:8000",
    "attempts": 2,
    "duration_seconds": 1.5,
    "ttft_seconds": 0.25,
    "prompt_tokens": 7,
    "completion_tokens": 3,
}
REFUSAL = {
    "at_seconds": 1000.5,
    "request_id": "r-1",
    "user": "kim",
    "model": "m",
    "path": "/v1/chat/completions",
    "status": 429,
    "reason": "rpm_exceeded",
    "message": "user: kim has exceeded RPM: 1",
    "source": "10.0.0.9",
}


@pytest.fixture
def answering() -> Iterator[Callable[[dict[str, tuple[int, Any]]], str]]:
    """Starts servers that give these answers by path, and the token they want."""
    servers: list[ThreadingHTTPServer] = []

    def start(answers: dict[str, tuple[int, Any]]) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, answer = answers.get(self.path, (404, {"error": {"message": "nothing is known of it"}}))
                if self.headers.get("authorization") != "Bearer t":
                    status, answer = 401, {"error": {"message": "the admin token is wrong"}}
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(answer).encode())

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def run(*arguments: str, token: str = "t") -> tuple[int, str]:
    result = CliRunner().invoke(cli, [*arguments], env={"GATEWAY_ADMIN_TOKEN": token, "COLUMNS": "200"})
    return result.exit_code, result.output


def test_a_request_is_told_from_its_decision_to_its_end(answering):
    url = answering(
        {"/debug/requests/r-1": (200, {"decisions": [DECISION | {"end": END}], "refusals": [], "ends": []})}
    )
    code, said = run("request", "r-1", "--url", url)
    assert code == 0
    for part in ("sent to pod-1 (least_request), then pod-2", "pod-1: cost 1 = requests 1", "pod-2: cost ?"):
        assert part in said
    assert "3 of 100 requests and 250 of 1000 tokens of the minute were used, 40 reserved" in said
    assert "200 by 10.0.0.2:8000 at the 2. try after 1.500 s, first token after 0.250 s, 7 + 3 tokens" in said


def test_replicas_tell_a_story_together(answering):
    first = answering({"/debug/requests/r-1": (200, {"decisions": [DECISION], "refusals": [], "ends": []})})
    second = answering({"/debug/requests/r-1": (200, {"decisions": [], "refusals": [], "ends": [END]})})
    third = answering({})
    code, said = run("request", "r-1", "--url", first, "--url", second, "--url", third)
    assert code == 0
    assert "sent to pod-1" in said
    assert "200 by 10.0.0.2:8000" in said
    assert "it is not over" not in said


def test_a_refusal_says_who_and_why(answering):
    url = answering(
        {
            "/debug/requests/r-1": (200, {"decisions": [], "refusals": [REFUSAL], "ends": []}),
            "/debug/refusals?limit=20&status=429": (200, [REFUSAL]),
        }
    )
    said = run("request", "r-1", "--url", url)[1]
    assert "refused with 429 (rpm_exceeded): user: kim has exceeded RPM: 1" in said
    assert "has exceeded RPM" in run("refusals", "--status", "429", "--url", url)[1]


def test_what_nobody_knows_is_an_error(answering):
    assert run("request", "other", "--url", answering({})) == (1, "gateway-plugin: 404: nothing is known of it\n")
    code, said = run("decisions", "--url", "http://127.0.0.1:1")
    assert (code, said.startswith("gateway-plugin: no plugin answers at http://127.0.0.1:1")) == (1, True)
    assert run("request", "r", "--url", answering({}), token="x") == (
        1,
        "gateway-plugin: 401: the admin token is wrong\n",
    )
    strange = answering({"/debug/decisions?limit=20": (200, {"not": "a list"})})
    assert "does not answer as a plugin" in run("decisions", "--url", strange)[1]


def test_decisions_are_a_table(answering):
    url = answering({"/debug/decisions?limit=5&user=kim": (200, [DECISION | {"end": END}])})
    code, said = run("decisions", "-n", "5", "--user", "kim", "--url", url)
    assert code == 0
    for cell in ("r-1", "kim", "least_request", "pod-1", "pod-2 (?)", "200", "1500", "7+3"):
        assert cell in said
    as_json = run("decisions", "-n", "5", "--user", "kim", "--url", url, "--json")[1]
    assert json.loads(as_json)[0]["request_id"] == "r-1"
