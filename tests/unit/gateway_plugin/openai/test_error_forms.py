"""Errors in the form of each family."""

from __future__ import annotations

import json

import pytest

from gateway_plugin.endpoints.endpoint_table import ApiFamily, EndpointTable
from gateway_plugin.openai.error_forms import anthropic_type, error_in_form
from gateway_plugin.openai.error_table import Blame, ErrorKind
from gateway_plugin.openai.errors import ApiError

KIND = ErrorKind(blame=Blame.CLIENT, status=400, reason="r", code="c", means="-", do="-")
ERROR = ApiError(KIND, 'no "model"', param="model")
OPENAI = {"message": 'no "model"', "type": "invalid_request_error", "param": "model", "code": "c"}


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        (ApiFamily.OPENAI, {"error": OPENAI}),
        (ApiFamily.RERANK, {"message": 'no "model"', "error": OPENAI}),
        (
            ApiFamily.ANTHROPIC,
            {
                "type": "error",
                "error": {"type": "invalid_request_error", "message": 'no "model"'},
                "request_id": "id-1",
            },
        ),
    ],
)
def test_forms(family: ApiFamily, expected: dict[str, object]):
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
        ("/v1/messages", ApiFamily.ANTHROPIC),
        ("/v1/messages/?beta=true", ApiFamily.ANTHROPIC),
        ("/v1/messages/count_tokens", ApiFamily.ANTHROPIC),
        ("/v1/messages/batches", ApiFamily.ANTHROPIC),
        ("/rerank", ApiFamily.RERANK),
        ("/v2/rerank", ApiFamily.RERANK),
        ("/v1/chat/completions", ApiFamily.OPENAI),
        ("/v1/messagesx", ApiFamily.OPENAI),
        ("", ApiFamily.OPENAI),
    ],
)
def test_whose_form_a_path_has(path: str, family: ApiFamily):
    assert EndpointTable().family_of(path) is family
