"""What is asked of engines and sidecars, and what their answers mean."""

from __future__ import annotations

import json

import pytest

from gateway_plugin.controller.adapters.engine_calls import (
    LoaderKind,
    LoadOutcome,
    listed_adapters,
    load_answer,
    load_call,
    unload_answer,
    unload_call,
)

VLLM, SGLANG, SIDECAR = LoaderKind


def flat(message: str, kind: str = "NotFoundError") -> str:
    return json.dumps({"object": "error", "message": message, "type": kind, "param": None, "code": 404})


def nested(message: str) -> str:
    return json.dumps({"error": {"message": message, "type": "InvalidUserInput"}})


def test_what_is_asked():
    assert load_call(VLLM, "sql", "a/b", in_place=True).body == {
        "lora_name": "sql",
        "lora_path": "a/b",
        "load_inplace": True,
    }
    assert load_call(SGLANG, "sql", "a/b").path == "/load_lora_adapter"
    assert load_call(SIDECAR, "sql", "s3://a/b").body == {"lora_name": "sql", "artifact_url": "s3://a/b"}
    assert load_call(SIDECAR, "sql", "a/b", delegated=False).body == {"lora_name": "sql", "lora_path": "a/b"}
    assert unload_call(VLLM, "sql").path == "/v1/unload_lora_adapter"


@pytest.mark.parametrize(
    ("kind", "status", "text", "outcome", "reason"),
    [
        (VLLM, 200, "Success: LoRA adapter 'sql' added successfully.", LoadOutcome.DONE, ""),
        (VLLM, 400, flat("The lora adapter 'sql' has already been loaded."), LoadOutcome.ALREADY, ""),
        (
            VLLM,
            400,
            nested("The lora adapter 'sql' has already been loaded. Use x"),
            LoadOutcome.ALREADY,
            "",
        ),
        (VLLM, 404, flat("Loading lora sql failed: No adapter found for /x"), LoadOutcome.REFUSED, "ArtifactNotFound"),
        (VLLM, 500, nested("LoRA rank 64 is greater than max_lora_rank 16"), LoadOutcome.REFUSED, "RankTooLarge"),
        (VLLM, 404, '{"detail":"Not Found"}', LoadOutcome.REFUSED, "LoadingNotEnabled"),
        (VLLM, 401, '{"error":"Unauthorized"}', LoadOutcome.REFUSED, "Unauthorized"),
        (SGLANG, 200, '{"success":true,"loaded_adapters":{"sql":"a/b"}}', LoadOutcome.DONE, ""),
        (SGLANG, 200, '{"success":false,"error_message":"bad shape"}', LoadOutcome.REFUSED, "ModelAdapterLoadingError"),
        (SGLANG, 400, '{"success":false,"error_message":"sql is already loaded"}', LoadOutcome.ALREADY, ""),
        (SIDECAR, 422, '{"detail":[{"msg":"Extra inputs are not permitted"}]}', LoadOutcome.OLD_SIDECAR, "OldSidecar"),
        (SIDECAR, 500, '{"error":"disk full"}', LoadOutcome.REFUSED, "ModelAdapterLoadingError"),
        (VLLM, 502, "<html>", LoadOutcome.REFUSED, "ModelAdapterLoadingError"),
    ],
)
def test_what_answers_to_a_load_mean(kind: LoaderKind, status: int, text: str, outcome: LoadOutcome, reason: str):
    answer = load_answer(kind, status, text)
    assert (answer.outcome, answer.reason) == (outcome, reason)


@pytest.mark.parametrize(
    ("status", "text", "outcome"),
    [
        (200, "Success: LoRA adapter 'sql' removed successfully.", LoadOutcome.DONE),
        (404, flat("The lora adapter 'sql' cannot be found."), LoadOutcome.ABSENT),
        (400, '{"success":false,"error_message":"sql is not loaded"}', LoadOutcome.ABSENT),
        (500, "", LoadOutcome.REFUSED),
    ],
)
def test_what_answers_to_an_unload_mean(status: int, text: str, outcome: LoadOutcome):
    assert unload_answer(status, text).outcome is outcome


def test_adapters_are_those_with_a_parent():
    cards = [
        {"id": "llama", "root": "/models/llama", "parent": None},
        {"id": "sql", "root": "a/b", "parent": "/models/llama"},
        {"id": "old", "parent": "llama"},
    ]
    assert listed_adapters(json.dumps({"data": cards}), "llama") == {"sql": "a/b", "old": None}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"data":[1]}', '{"data":null}'])
def test_what_is_no_list_of_models(text: str):
    with pytest.raises(ValueError, match="no list"):
        listed_adapters(text, "llama")
