"""An engine's kind and models are found by asking."""

from __future__ import annotations

import json

import pytest

from gateway_plugin.pods.engines.engine_probe import FoundEngine, ProbeError, probe
from gateway_plugin.pods.engines.fetch import FetchOutcome, ScrapeError


def models(*names: str, owned_by: str = "somebody", **parents: str) -> bytes:
    cards = [{"id": name, "object": "model", "owned_by": owned_by} for name in names]
    cards += [{"id": name, "parent": parent} for name, parent in parents.items()]
    return json.dumps({"object": "list", "data": cards}).encode()


class Engine:
    """Pages by path; what is not there is 404."""

    def __init__(self, **pages: bytes) -> None:
        self.pages = {"/" + path.replace("__", "/"): page for path, page in pages.items()}
        self.keys: set[str] = set()

    async def fetch(self, url: str, key: str = "") -> bytes:
        self.keys.add(key)
        path = url.removeprefix("http://e:1")
        if path not in self.pages:
            raise ScrapeError(FetchOutcome.BAD_STATUS, "status 404", 404)
        return self.pages[path]


@pytest.mark.parametrize(
    ("page", "engine"),
    [
        (b"# HELP x\nvllm:num_requests_running 1\n", "vllm"),
        (b"sglang:num_running_reqs 1\n", "sglang"),
        (b"tgi_queue_size 1\n", "tgi"),
        (b"llamacpp:requests_processing 1\n", "llamacpp"),
        (b"lmdeploy:num_requests_running 1\n", "lmdeploy"),
        (b"nv_trt_llm_request_metrics 1\n", "triton"),
        (b"dynamo_frontend_inflight_requests 1\nvllm:num_requests_running 1\n", "dynamo"),
    ],
)
async def test_metrics_tell_the_kind(page: bytes, engine: str):
    one = Engine(v1__models=models("m"), metrics=page)
    assert await probe("http://e:1", one.fetch) == FoundEngine(engine, ("m",))


async def test_a_page_elsewhere_is_found():
    one = Engine(v1__models=models("m"), prometheus__metrics=b"trtllm_num_requests_running 1\n")
    assert (await probe("http://e:1", one.fetch)).engine == "trtllm"


@pytest.mark.parametrize(
    ("pages", "engine"),
    [
        ({"v1__models": models("m"), "api__version": b'{"version": "0.9"}'}, "ollama"),
        ({"v1__models": models("m", owned_by="sglang")}, "sglang"),
        ({"v1__models": models("m", owned_by="library")}, "ollama"),
        ({"v1__models": models("m")}, "vllm"),
    ],
)
async def test_an_engine_without_metrics_is_told_by_other_things(pages: dict[str, bytes], engine: str):
    found = await probe("http://e:1", Engine(**pages).fetch)
    assert found == FoundEngine(engine, ("m",), tells_metrics=False)


async def test_adapters_are_told_from_models():
    one = Engine(v1__models=models("m", "n", lora="m", stray="elsewhere"))
    found = await probe("http://e:1", one.fetch, "secret")
    assert (found.models, found.adapters) == (("m", "n", "stray"), (("lora", "m"),))
    assert one.keys == {"secret"}


@pytest.mark.parametrize(
    ("page", "said"), [(b"hello", "not a list of models"), (b'{"data": []}', "lists no model"), (b"[]", "not a list")]
)
async def test_what_is_no_engine_is_named(page: bytes, said: str):
    with pytest.raises(ProbeError, match=said):
        await probe("http://e:1", Engine(v1__models=page).fetch)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ScrapeError(FetchOutcome.REFUSED, "no"), r"nothing answers at http://e:1 \(refused\)"),
        (ScrapeError(FetchOutcome.BAD_STATUS, "status 401", 401), "wants an API key"),
        (ScrapeError(FetchOutcome.BAD_STATUS, "status 404", 404), "answers 404"),
    ],
)
async def test_who_does_not_answer_is_named(error: ScrapeError, said: str):
    async def fetch(url: str, key: str = "") -> bytes:
        raise error

    with pytest.raises(ProbeError, match=said):
        await probe("http://e:1", fetch)
