"""Bodies in unusual forms, through Envoy: what passes, and what clients are told of what does not."""

from __future__ import annotations

import gzip
import json
import random
import zlib
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.integration.chain.conftest import Gateway

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.envoy, pytest.mark.redis]

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 4}
TEXT = json.dumps(CHAT).encode()
LONG = json.dumps(CHAT | {"metadata": random.Random(1).randbytes(1_000_000).hex()}).encode()
PACKED = gzip.compress(TEXT, mtime=0)


@pytest.mark.parametrize("body", [TEXT, LONG], ids=["at once", "in a thread"])
@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
@pytest.mark.parametrize("headers", [{}, {"user": "packer"}], ids=["anybody", "limited"])
async def test_a_compressed_body_arrives_as_what_it_says(
    gateway: Gateway, body: bytes, encoding: str, pack: Any, headers: dict[str, str]
):
    if headers:
        await gateway.create_user("packer", rpm=1000)
    answer = await gateway.post(pack(body), content_encoding=encoding, **headers)
    assert answer.status_code == 200, answer.text
    assert answer.json()["usage"]["completion_tokens"] == 4
    received = await gateway.last_headers(answer.headers["target-pod"])
    assert "content-encoding" not in received
    assert received["content-length"] == str(len(body))


@pytest.mark.parametrize(
    ("packed", "encoding", "status"),
    [
        (PACKED[:-3], "gzip", 400),
        (PACKED + b"more", "gzip", 400),
        (gzip.compress(b" " * 8_000_000, mtime=0), "gzip", 400),
        (PACKED, "zstd", 415),
    ],
    ids=["cut off", "with more", "of nothing", "of another kind"],
)
async def test_a_compressed_body_that_cannot_be_read(gateway: Gateway, packed: bytes, encoding: str, status: int):
    answer = await gateway.post(packed, content_encoding=encoding)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "body",
    [
        CHAT | {"max_tokens": "4", "stream": "false", "n": "1"},
        b'{"model": "m", "messages": [{"role": "user", "content": "cut \\ud83d"}], "max_tokens": 4}',
        b"\xef\xbb\xbf" + TEXT,
    ],
)
async def test_what_engines_take_passes(gateway: Gateway, body: Any):
    answer = await gateway.post(body)
    assert "target-pod" in answer.headers, answer.text


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
async def test_errors_of_anthropics_paths_are_theirs(gateway: Gateway, path: str):
    answer = await gateway.post(CHAT | {"model": "nope"}, path, x_request_id="abc-7")
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/json")
    said = answer.json()
    assert said.pop("request_id") == "abc-7"
    error = {"type": "invalid_request_error", "message": "model nope does not exist"}
    assert said == {"type": "error", "error": error}


async def test_errors_of_rerankers_have_a_message_at_the_top(gateway: Gateway):
    answer = await gateway.post({"model": "nope", "query": "q", "documents": ["a"]}, "/v2/rerank")
    assert answer.json()["message"] == answer.json()["error"]["message"] == "model nope does not exist"


async def test_two_models_in_a_form(gateway: Gateway):
    part = '--x\r\nContent-Disposition: form-data; name="model"\r\n\r\n{}\r\n'
    body = (part.format("m") + part.format("org/other") + "--x--\r\n").encode()
    answer = await gateway.post(body, "/v1/audio/transcriptions", content_type="multipart/form-data; boundary=x")
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == "form field 'model' stands more than once"
