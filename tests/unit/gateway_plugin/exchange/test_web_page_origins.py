"""Which web pages may send requests, and what that costs those who are no web pages."""

from __future__ import annotations

import pytest

from gateway_plugin.endpoints.web_pages import WebPages, parse_origins
from gateway_plugin.exchange.intent.identity import IdentityRules
from gateway_plugin.exchange.intent.request_rules import Rules, wanted_headers
from gateway_plugin.settings.loading import SettingsError, load
from tests.unit.gateway_plugin.exchange.bench import Bench, error, headers, mutation, reply

PAGES = WebPages(parse_origins("https://a.test, http://b.test:8080, https://*.c.test"))
PREFLIGHT = {":method": "OPTIONS", "access-control-request-method": "POST"}


@pytest.mark.parametrize("origin", ["https://a.test", "http://b.test:8080", "https://x.c.test", "https://x.y.c.test"])
def test_pages_of_named_origins_may_read(origin: str):
    assert PAGES.headers(origin)["access-control-allow-origin"] == origin


@pytest.mark.parametrize(
    "origin",
    [
        *(
            "",
            "null",
            "http://a.test",
            "https://a.test:444",
            "https://a.test.evil",
            "https://evila.test",
            "https://A.test",
        ),
        *(
            "https://c.test",
            "https://evil/x.c.test",
            "https://a.test\n",
            "https://a.test, https://evil",
            "http://b.test",
        ),
    ],
)
def test_others_may_not(origin: str):
    assert PAGES.headers(origin) == PAGES.preflight(origin) == {}


def test_all_of_them_where_the_operator_says_so():
    assert WebPages(parse_origins("*")).headers("https://any.test")["access-control-allow-origin"] == "https://any.test"


@pytest.mark.parametrize(
    "text", ["a.test", "https://", "javascript:x", "https://a.test/", "https://a.*", "ftp://a.test"]
)
def test_what_is_no_origin_stops_the_start(text: str):
    with pytest.raises(SettingsError, match=r"cors_origins = .* is no origin; allowed: \*, https://host"):
        load(environ={"GATEWAY_CORS_ORIGINS": text})


def test_nobody_is_asked_who_asks_before():
    bench = Bench(web_pages=PAGES, identity=IdentityRules(frozenset({"bearer"}), bearer_token="t0p"))
    message = reply(bench.exchange().receive(headers(True, origin="https://a.test", **PREFLIGHT))).message
    found = {h.header.key: h.header.raw_value.decode() for h in message.immediate_response.headers.set_headers}
    assert (message.immediate_response.status.code, found["access-control-allow-origin"]) == (200, "https://a.test")
    status, _, refusal = error(bench.exchange().receive(headers(origin="https://a.test")))
    assert (status, refusal["access-control-allow-origin"]) == (401, "https://a.test")
    status, _, refusal = error(bench.exchange().receive(headers(origin="https://evil.test")))
    assert (status, refusal.get("access-control-allow-origin")) == (401, None)


def test_options_without_a_browser_is_no_preflight():
    bench = Bench(web_pages=PAGES)
    assert error(bench.exchange().receive(headers(True, origin="https://a.test", **{":method": "OPTIONS"})))[0] == 405


def test_answers_of_pods_carry_the_headers():
    bench = Bench(web_pages=PAGES, default_strategy="random", limited=False)
    step = bench.exchange().receive(headers(model="m", origin="https://a.test"))
    assert "target-pod" in mutation(step)[0]
    metadata = reply(step).message.dynamic_metadata.fields["gateway_plugin"].struct_value
    assert dict(metadata["headers"])["access-control-allow-origin"] == "https://a.test"


def test_without_origins_nothing_is_looked_at():
    assert not {"origin", "access-control-request-method"} & wanted_headers(Rules())
    assert error(Bench().exchange().receive(headers(True, origin="https://a.test", **PREFLIGHT)))[0] == 405
