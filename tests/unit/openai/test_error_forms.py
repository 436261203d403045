"""Errors in the form of each family."""

from __future__ import annotations

import json

import pytest

from gateway_plugin.endpoints import EndpointTable, Family
from gateway_plugin.openai.error_forms import anthropic_type, error_in_form
from gateway_plugin.openai.errors import ApiError

ERROR = ApiError(400, 'no "model"', reason="r", code="c", param="model")
OPENAI = {"message": 'no "model"', "type": "invalid_request_error", "param": "model", "code": "c"}


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        (Family.OPENAI, {"error": OPENAI}),
        (Family.RERANK, {"message": 'no "model"', "error": OPENAI}),
        (
            Family.ANTHROPIC,
            {
                "type": "error",
                "error": {"type": "invalid_request_error", "message": 'no "model"'},
                "request_id": "id-1",
            },
        ),
    ],
)
def test_forms(family: Family, expected: dict[str, object]):
    assert json.loads(error_in_form(ERROR, family, "id-1")) == expected


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (405, "invalid_request_error"),
        (413, "request_too_large"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (503, "overloaded_error"),
        (504, "timeout_error"),
    ],
)
def test_anthropics_types(status: int, expected: str):
    assert anthropic_type(status) == expected


@pytest.mark.parametrize(
    ("path", "family"),
    [
        ("/v1/messages", Family.ANTHROPIC),
        ("/v1/messages/?beta=true", Family.ANTHROPIC),
        ("/v1/messages/count_tokens", Family.ANTHROPIC),
        ("/v1/messages/batches", Family.ANTHROPIC),
        ("/rerank", Family.RERANK),
        ("/v2/rerank", Family.RERANK),
        ("/v1/chat/completions", Family.OPENAI),
        ("/v1/messagesx", Family.OPENAI),
        ("", Family.OPENAI),
    ],
)
def test_whose_form_a_path_has(path: str, family: Family):
    assert EndpointTable().family_of(path) is family
