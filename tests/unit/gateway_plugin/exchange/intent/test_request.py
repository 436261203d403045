"""What headers say, with and without those that nobody looks at."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_plugin.endpoints.endpoint_table import without_trailing_slash
from gateway_plugin.exchange.intent.identity import IdentityRules, identify
from gateway_plugin.exchange.intent.request import read_intent
from gateway_plugin.exchange.intent.request_rules import WANTED_HEADERS, Rules, wanted_headers
from gateway_plugin.openai.errors import ApiError
from gateway_plugin.settings.identity_settings import PROOFS

VALUES = st.sampled_from(["", "a", " b ", "10.0.0.1, 10.0.0.2", "Bearer t0p", "Bearer gw-key", "POST", "/v1/rerank/"])
HEADERS = st.dictionaries(st.sampled_from(sorted(WANTED_HEADERS - {"external-filter"})), VALUES)
RULES = st.builds(
    IdentityRules,
    st.sets(st.sampled_from(PROOFS), min_size=1).map(frozenset),
    bearer_token=st.just("t0p"),
    anonymous=st.sampled_from(["allow", "reject", "limit"]),
).map(lambda identity: Rules(identity=identity))


def read(headers: dict[str, str], rules: Rules) -> tuple[Any, ...]:
    try:
        return identify(headers, "10.0.0.1", rules.identity), read_intent(headers, rules, "new")
    except ApiError as error:
        return error.status, error.message


@given(HEADERS, RULES)
def test_headers_that_are_not_wanted_say_nothing(headers: dict[str, str], rules: Rules):
    wanted = wanted_headers(rules)
    assert read({name: value for name, value in headers.items() if name in wanted}, rules) == read(headers, rules)


PIECES = st.lists(st.sampled_from(["/v1/rerank", "/", "//", "?", "?a=1", "x"]), max_size=4).map("".join)


@given(PIECES)
def test_paths(path: str):
    bare, mark, query = path.partition("?")
    assert without_trailing_slash(path) == bare.rstrip("/") + mark + query


@pytest.mark.parametrize(("content_type", "status"), [("application/json", 0), ("Text/JSON; q=1", 0), ("a/b", 415)])
def test_media_types(content_type: str, status: int):
    sent = {":method": "POST", ":path": "/v1/score", "content-type": content_type}
    intent = read_intent(sent, Rules(), "new")
    if not status:
        assert intent.read_body(b'{"model":"m"}')[0].model == "m"
        return
    with pytest.raises(ApiError) as raised:
        intent.read_body(b'{"model":"m"}')
    assert raised.value.status == status
