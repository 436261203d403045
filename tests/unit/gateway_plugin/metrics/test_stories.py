"""What is remembered of requests: every decision, refusal and end, bounded, and found by the request's id."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from gateway_plugin.accounting.access_lines import MAX_REFUSAL_LINES_PER_SECOND, LineWriter
from gateway_plugin.metrics.stories import MAX_CHARACTERS, Stories
from gateway_plugin.settings.log_lines import HumanLines
from protos.access_log import FinishedExchange


def stories(size: int = 100) -> Stories:
    return Stories(size, lambda: 1000.0)


def send_on(kept: Stories, request_id: str, charge_id: str = "c", user: str = "u", model: str = "m") -> None:
    kept.sent_on(request_id, charge_id, user, model, "/v1/chat/completions", "random", None, 10, 20, 0.001)


def refuse(kept: Stories, request_id: str = "r", **changes: object) -> None:
    said = {"user": "u", "model": "m", "path": "/v1/chat/completions", "status": 429, "reason": "rpm_exceeded"}
    said |= {"message": "user: u has exceeded RPM: 1", "source": "10.0.0.1"} | changes
    kept.refuse(request_id, **said)  # type: ignore[arg-type]


def end(**changes: object) -> FinishedExchange:
    said = {"charge_id": "c", "user": "u", "model": "m", "status": 200, "pod_address": "10.0.0.1:8000"}
    said |= {"duration_seconds": 2.0, "ttft_seconds": 0.5, "attempts": 1, "client_aborted": False}
    said |= {"request_id": "one", "strategy": "random", "tokens": {"prompt_tokens": 7, "completion_tokens": 3}}
    return FinishedExchange(**(said | changes))  # type: ignore[arg-type]


def test_a_request_is_found_by_its_id_and_by_its_charge():
    kept = stories()
    send_on(kept, "one", "c1")
    send_on(kept, "two", "c2")
    refuse(kept, "one")
    kept.finish([end(charge_id="c1")])
    for asked in ("one", "c1"):
        story = kept.of(asked)
        assert [one.charge_id for one in story.routed] == ["c1"]
        assert [one.entry.charge_id for one in story.finished] == ["c1"]
    assert [one.status for one in kept.of("one").refused] == [429]
    assert not kept.of("three")


def test_another_replicas_request_is_found_by_its_end():
    kept = stories()
    kept.finish([end(charge_id="elsewhere", request_id="far")])
    story = kept.of("far")
    assert story
    assert (story.routed, len(story.finished)) == ([], 1)


def test_each_ring_is_bounded_and_texts_are_cut():
    kept = stories(size=3)
    for number in range(10):
        send_on(kept, str(number))
        refuse(kept, str(number), model="x" * 5000, path="/" + "y" * 5000, message="z" * 5000)
        kept.finish([end()])
    assert [one.request_id for one in kept.routed] == ["7", "8", "9"]
    assert len(kept.refused) == len(kept.finished) == 3
    longest = max(len(text) for one in kept.refused for text in (one.model, one.path, one.message))
    assert longest <= 2 * MAX_CHARACTERS


def test_the_query_of_a_refused_path_is_not_kept():
    kept = stories()
    refuse(kept, path="/v1/models?api_key=secret")
    assert kept.refused[0].path == "/v1/models"


def test_the_newest_come_first_and_may_be_asked_for_by_user_model_and_status():
    kept = stories()
    for number in range(4):
        send_on(kept, str(number), user="even" if number % 2 == 0 else "odd")
        refuse(kept, str(number), status=429 if number else 400)
    assert [one.request_id for one in kept.last_routed(10, user="even")] == ["2", "0"]
    assert [one.request_id for one in kept.last_routed(1)] == ["3"]
    assert [one.request_id for one in kept.last_routed(9, model="other")] == []
    assert [one.request_id for one in kept.last_refused(9, status=400)] == ["0"]


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(HumanLines())
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(self.format(record).partition(": ")[2])


@pytest.fixture
def lines() -> Iterator[Lines]:
    handler, logger = Lines(), logging.getLogger("gateway_plugin")
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.INFO)
    yield handler
    logger.setLevel(level)
    logger.removeHandler(handler)


def test_a_refusal_is_one_line_without_the_message(lines: Lines):
    kept = stories()
    LineWriter().listen(kept)
    refuse(kept, "id-1", path="/v1/rerank", message="model secret-prompt does not exist")
    (line,) = lines.said
    assert (
        line == "refused request_id=id-1 user=u source=10.0.0.1 model=m path=/v1/rerank status=429 reason=rpm_exceeded"
    )


def test_a_flood_of_refusals_is_counted_instead_of_told(lines: Lines):
    now, kept = 10.0, stories()
    LineWriter(clock=lambda: now).listen(kept)
    for _ in range(MAX_REFUSAL_LINES_PER_SECOND + 500):
        refuse(kept)
    assert len(lines.said) == MAX_REFUSAL_LINES_PER_SECOND
    now = 11.0
    refuse(kept)
    assert lines.said[-1].endswith("left_out_before=500")


def test_access_lines_are_written_as_far_as_they_are_asked_for(lines: Lines):
    went_well, failed = end(), end(status=503, details="no_healthy_upstream", pod_address="", tokens={})
    left = end(client_aborted=True, flags=frozenset({"downstream_connection_termination"}))
    for which, draw, expected in (
        ("off", 0.0, []),
        ("errors", 0.0, ["503", "499"]),
        ("sampled", 0.5, ["503", "499"]),
        ("sampled", 0.05, ["200", "503", "499"]),
        ("all", 1.0, ["200", "503", "499"]),
    ):
        kept = stories()
        lines.said.clear()
        LineWriter(which, 0.1, lambda draw=draw: draw).listen(kept)  # type: ignore[arg-type,misc]
        for entry in (went_well, failed, left):
            kept.finish([entry])
        assert [line.partition("status=")[2][:3] for line in lines.said] == expected, which


def test_an_access_line_says_who_what_where_and_how_long(lines: Lines):
    kept = stories()
    LineWriter("all").listen(kept)
    kept.finish([end(attempts=2)])
    (line,) = lines.said
    assert line == (
        "request request_id=one user=u model=m strategy=random pod=10.0.0.1:8000 attempts=2 status=200"
        " duration_ms=2000.0 ttft_ms=500.0 prompt_tokens=7 completion_tokens=3 reserved_tokens=0 response_bytes=0"
    )
