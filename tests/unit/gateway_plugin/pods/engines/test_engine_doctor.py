"""What engines say of themselves, held against what was configured; asked of real servers."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme
from aiohttp import web
from typer.testing import CliRunner

from gateway_plugin.cli.application import cli
from gateway_plugin.cli.endpoints_doctor import _examine
from gateway_plugin.pods.engines.engine_checks import EngineFinding, other_engine, served_names
from gateway_plugin.pods.engines.engine_doctor import ask_engine
from gateway_plugin.pods.engines.fetch import http_fetch
from gateway_plugin.pods.engines.findings_book import FindingsBook, FindingsCollector
from gateway_plugin.pods.engines.known_models import ModelCard
from gateway_plugin.settings.loading import load
from routing.spec import PodSpec

VLLM = b"# HELP vllm:num_requests_running x\nvllm:num_requests_running 0\n"
Handler = Callable[[web.Request], Awaitable[web.Response]]


def engine(*names: str, key: str = "", base: str = "/v1", page: bytes = VLLM) -> Handler:
    """An engine that serves these names."""

    async def answer(request: web.Request) -> web.Response:
        if request.path == "/metrics":
            return web.Response(body=page)
        if key and request.headers.get("authorization") != f"Bearer {key}":
            return web.json_response({"error": "unauthorized"}, status=401)
        if request.path == f"{base}/models":
            return web.json_response({"data": [{"id": name} for name in names]})
        return web.Response(status=404)

    return answer


@asynccontextmanager
async def served(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    server = web.Server(handler)  # type: ignore[arg-type]  # of requests, which these are
    runner = web.ServerRunner(server)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    assert site._server is not None
    yield f"127.0.0.1:{site._server.sockets[0].getsockname()[1]}"  # type: ignore[attr-defined]
    await runner.cleanup()


async def found(
    handler: Handler, *, key: str = "", engine: str = "vllm", tls: ssl.SSLContext | None = None
) -> list[str]:
    async with served(handler, tls) as address, http_fetch(3.0, 4, 1 << 20) as fetch:
        return [one.code for one in await ask_engine(PodSpec("p", address, ("m",), engine=engine), fetch, key)]


async def test_an_engine_as_configured_is_fine():
    assert await found(engine("m")) == []
    assert await found(engine("m", key="k"), key="k") == []


async def test_each_contradiction_is_found():
    assert await found(engine("other")) == ["NotServed"]
    assert await found(engine("m", key="k")) == ["KeyWanted"]
    assert await found(engine("m", key="k"), key="wrong") == ["KeyWanted"]
    assert await found(engine("m", base="/api/v1")) == ["OtherPath"]
    assert await found(engine("m"), engine="sglang") == ["OtherEngine"]

    async def web_page(_: web.Request) -> web.Response:
        return web.Response(text="<html>")

    assert await found(web_page) == ["NotAnEngine"]


async def test_tls_is_told_from_a_server_that_is_gone():
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    assert await found(engine("m"), tls=context) == ["SpeaksTls"]
    async with http_fetch(3.0, 4, 1 << 20) as fetch:
        (gone,) = await ask_engine(PodSpec("p", "127.0.0.1:1", ("m",)), fetch)
    assert gone.code == "NoAnswer"


def test_names_are_compared_as_requests_will_be():
    pod = PodSpec("p", "10.0.0.1:8000", ("org/llama-3-8b", "sql"))
    finding = served_names(pod, [ModelCard("llama-3-8b")], adapters=["sql"])
    assert finding is not None
    assert "'org/llama-3-8b'" in finding.message
    assert "did you mean llama-3-8b?" in finding.fix
    assert served_names(pod, [], adapters=["sql"]) is None, "who lists nothing says nothing"
    lenient = PodSpec("p", "10.0.0.1:8000", ("m",), engine="llamacpp")
    assert served_names(lenient, [ModelCard("/models/x.gguf")]) is None


@pytest.mark.parametrize(
    ("configured", "page", "code"),
    [
        ("vllm", b"python_gc 1\n", None),
        ("vllm", b"python_gc 1\nsglang:num_running_reqs 1\n", "OtherEngine"),
        ("dynamo", VLLM, None),
        ("vllm", VLLM + b"dynamo_x 1\n", None),
    ],
)
def test_an_engine_is_known_by_its_metrics(configured: str, page: bytes, code: str | None):
    finding = other_engine(PodSpec("p", "10.0.0.1:8000", ("m",), engine=configured), page)
    assert (finding.code if finding else None) == code


def test_a_finding_is_told_when_it_comes_and_when_it_is_mended(caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO")
    book, one = FindingsBook(), EngineFinding("NotServed", "p", "it does not serve 'm'", "rename it")
    for _ in range(3):
        book.put("a", "models", one)
    book.put("a", "metrics", None)
    assert [record.message for record in caplog.records] == ["pod p: it does not serve 'm'; rename it"]
    (family,) = FindingsCollector(book).collect()
    assert {sample.labels["code"]: sample.value for sample in family.samples}["NotServed"] == 1
    book.put("a", "models", None)
    assert caplog.records[-1].message == "pod p: mended: it does not serve 'm'"
    assert book.all() == []
    book.put("a", "models", one)
    book.keep({"b"})
    assert book.all() == []


async def test_the_doctor_asks_all_pods_of_a_file(tmp_path: Path):
    endpoints = tmp_path / "endpoints.yaml"
    async with served(engine("m")) as good, served(engine("other")) as bad:
        endpoints.write_text(
            f"models: [{{name: m, endpoints: ['{good}', {{address: '{bad}', name: b}}]}},"
            " {name: none, endpoints: []}]"
        )
        settings = load(environ={"GATEWAY_REDIS_URL": "redis://127.0.0.1:1"}).settings
        pods, findings = await _examine(endpoints, settings)
    assert pods == 2
    assert {(one.code, one.about) for one in findings} == {("NotServed", "b"), ("NoPods", "none"), ("NoStore", "redis")}


def test_the_command_ends_with_1_where_something_is_wrong(tmp_path: Path):
    endpoints = tmp_path / "endpoints.yaml"
    endpoints.write_text("models: [{name: m, endpoints: ['127.0.0.1:1']}]")
    result = CliRunner().invoke(cli, ["doctor", "--endpoints", str(endpoints)], env={"COLUMNS": "200"})
    assert result.exit_code == 1
    assert "NoAnswer" in result.output
    assert "1 pods asked, 1 findings" in result.output
    endpoints.write_text("models: [{name: m, endpoints: ['127.0.0.1:1'], engine: x}]")
    result = CliRunner().invoke(cli, ["doctor", "--endpoints", str(endpoints)])
    assert result.exit_code == 1
    assert "engine is 'x'" in result.output
