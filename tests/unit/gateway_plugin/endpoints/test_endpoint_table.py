"""The table of endpoints: what is in it, and that nothing else can be found."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_plugin.endpoints.endpoint_table import (
    ENDPOINTS,
    Answerer,
    ApiFamily,
    BodyKind,
    Cost,
    EndpointTable,
    pattern_of,
)

TABLE = EndpointTable()


@pytest.mark.parametrize(
    ("path", "row"),
    [
        ("/v1/chat/completions", "/v1/chat/completions"),
        ("/v1/chat/completions/", "/v1/chat/completions"),
        ("/v1/chat/completions?api-version=1", "/v1/chat/completions"),
        ("/v1/messages/?beta=true", "/v1/messages"),
        ("/v1/responses/resp_0a-1.b", "/v1/responses/{id}"),
        ("/v1/responses/resp_1?stream=true", "/v1/responses/{id}"),
        ("/v1/responses/resp_1/cancel", "/v1/responses/{id}/cancel"),
        ("/v1/models", "/v1/models"),
        ("/v1/models/org/m", "/v1/models/{id}"),
        ("/v1/models/events", "/v1/models/events"),
        ("/v2/rerank", "/v2/rerank"),
    ],
)
def test_paths_of_the_table_are_found(path: str, row: str):
    found = TABLE.exact(path) or TABLE.find(path)
    assert found is not None
    assert found.path == row


@pytest.mark.parametrize(
    "path",
    [
        *("", "/", "*", "?", "/v1", "/v1/chat", "/v1/chat/completions/batch", "/v1/chat/completions;x=1"),
        *("/v1/chat%2fcompletions", "/v1/%63hat/completions", "/v1//chat/completions", "/V1/chat/completions"),
        *("/v1/load_lora_adapter", "/v1/unload_lora_adapter", "/sleep", "/wake_up", "/start_profile", "/metrics"),
        *("/tokenizer_info", "/reset_prefix_cache", "/flush_cache", "/collective_rpc", "/v1/users", "/debug/pods"),
        *("/v1/responses/", "/v1/responses/..", "/v1/responses/.", "/v1/responses/a/b", "/v1/responses/a/../cancel"),
        *("/v1/responses/a%2fb", "/v1/responses/a;b", "/v1/responses/a b", "/v1/responses/\n", "/v1/responses/ä"),
        *("/v1/responses/" + "a" * 1024, "/v1/responses//cancel", "/generate", "/generatevideo", "/generate/x"),
        *("http://host/v1/chat/completions", "/v1/chat/completions#x", "/v1/chat/completions\0", "/v1/completions\n"),
    ],
)
def test_nothing_else_is_found(path: str):
    found = TABLE.exact(path) or TABLE.find(path)
    assert found is None or (path == "/v1/responses/" and found.path == "/v1/responses")


@given(st.text(max_size=40) | st.lists(st.sampled_from(list("/v1.%;?ae{id}")), max_size=12).map("".join))
def test_what_is_found_is_a_row_letter_by_letter(path: str):
    found = TABLE.find(path)
    if found is not None:
        bare = path.partition("?")[0].rstrip("/")
        assert bare == found.path if found.is_exact else re.fullmatch(pattern_of(found), bare)


def test_what_an_operator_adds_is_found_and_counted_as_a_request():
    table = EndpointTable(["/v1/custom"])
    found = table.exact("/v1/custom")
    assert found is not None
    assert (found.cost, found.answerer, found.body) == (Cost.REQUEST, Answerer.POD, BodyKind.ANY)
    assert table.find("/v1/custom/more") is None
    assert found in list(table)


def test_each_row_fits_together():
    assert len({row.path for row in ENDPOINTS}) == len(ENDPOINTS)
    for row in ENDPOINTS:
        assert row.methods, row
        assert ("GET" in row.methods) is ("HEAD" in row.methods), row
        assert (row.answerer is Answerer.POD) is (row.cost is not Cost.NOTHING), row
        assert (row.body is BodyKind.NONE) or "POST" in row.methods, row
        assert row.family is not ApiFamily.ANTHROPIC or row.path.startswith("/v1/messages"), row
