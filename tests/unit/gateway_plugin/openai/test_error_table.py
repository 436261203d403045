"""The one table of errors, and the page that is written from it."""

from __future__ import annotations

from pathlib import Path

from gateway_plugin.exchange.intent.rejections import answer_to, refused
from gateway_plugin.openai.error_table import KINDS, Blame
from gateway_plugin.openai.errors import ApiError, error_type
from gateway_plugin.openai.errors_page import page
from gateway_plugin.tools.envoy_config.local_replies import local_replies
from ratelimit import CorruptUserRecord, Decision, Outcome, StoreUnavailable

WRITTEN = Path(__file__).parents[4] / "docs" / "errors.md"


def test_every_kind_says_what_it_means_and_what_to_do():
    assert all(kind.means and kind.do for kind in KINDS)
    assert {kind.blame for kind in KINDS} == set(Blame)


def test_no_two_kinds_look_the_same_in_metrics_and_differ_in_blame():
    blames = {(kind.reason, kind.status): kind.blame for kind in KINDS}
    assert all(blames[kind.reason, kind.status] is kind.blame for kind in KINDS)


def test_blame_and_status_fit():
    for kind in KINDS:
        if kind.blame in (Blame.OVERLOADED, Blame.STORE_AWAY):
            assert kind.status == 503
            assert "retry-after" in kind.headers
        assert (kind.blame is Blame.OURS) == (error_type(kind.status) == "api_error")
        assert kind.blame is not Blame.REFUSED or kind.status in (401, 403, 429)


def test_every_outcome_of_an_admission_has_an_answer():
    for outcome in Outcome:
        if outcome is not Outcome.ADMITTED:
            assert refused("lgy", "m", 1, Decision(outcome, None)).status in (401, 403, 429)


def test_faults_of_the_limiter_have_an_answer_and_others_have_none():
    faults = (StoreUnavailable("redis", "away"), CorruptUserRecord("lgy"), ValueError())
    answers = [answer_to(fault) for fault in faults]
    assert [answer and (answer.status, answer.reason) for answer in answers] == [
        (503, "limiter_unavailable"),
        (500, "corrupt_user"),
        None,
    ]


def test_an_error_has_the_headers_of_its_kind_and_its_own():
    kind = next(kind for kind in KINDS if kind.reason == "bad_token")
    assert ApiError(kind, "no").headers == {"www-authenticate": "Bearer"}
    assert ApiError(kind, "no", headers={"x": "y"}).headers == {"www-authenticate": "Bearer", "x": "y"}
    assert kind.headers == {"www-authenticate": "Bearer"}


def test_the_page_is_written_from_the_table():
    assert WRITTEN.read_text() == page(), "run: make docs"


def test_the_page_has_what_envoy_answers():
    envoys = page().partition("## Envoy answers")[2]
    for reply in local_replies(1):
        error = reply.body.get("error")
        assert isinstance(error, dict)
        code = error.get("code")
        assert not code or f"| `{code}` | `{error['type']}` |" in envoys
