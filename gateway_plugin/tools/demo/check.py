"""`make demo-check`: real requests through the whole chain, and a table of what was seen."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
from openai import APIStatusError, AsyncOpenAI
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from openai.types.chat import ChatCompletionMessageParam
    from rich.console import Console

    from gateway_plugin.tools.chain.stack import Stack

_HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Say this is a test!"}]


class CheckError(AssertionError):
    """What was seen is not what should be."""


def expect(condition: object, saw: object) -> None:
    """Raises CheckError with what was seen unless the condition holds."""
    if not condition:
        raise CheckError(str(saw))


@dataclass(frozen=True, slots=True)
class Clients:
    """The clients that a check speaks with."""

    stack: Stack
    http: httpx.AsyncClient
    model: str

    def openai(self, **headers: str) -> AsyncOpenAI:
        """OpenAI's own client, pointed at the gateway."""
        return AsyncOpenAI(
            base_url=f"{self.stack.gateway_url}/v1", api_key="none", default_headers=headers, max_retries=0, timeout=20
        )

    async def chat(self, content: str | None = None, **headers: str) -> httpx.Response:
        """One small chat request, or any other body."""
        body = content or json.dumps({"model": self.model, "messages": _HELLO, "max_tokens": 4})
        url = f"{self.stack.gateway_url}/v1/chat/completions"
        sent = {"content-type": "application/json", **{name.replace("_", "-"): v for name, v in headers.items()}}
        return await self.http.post(url, headers=sent, content=body)

    async def create_user(self, name: str, rpm: int, tpm: int) -> None:
        """Through the users API."""
        await self.http.post(f"{self.stack.api_url}/CreateUser", json={"name": name, "rpm": rpm, "tpm": tpm})


async def run_checks(stack: Stack, console: Console) -> int:
    """Runs every check, prints the table; 0 when all passed."""
    table = Table("check", "saw", "", show_edge=False)
    failed = 0
    async with httpx.AsyncClient(timeout=20) as http:
        clients = Clients(stack, http, next(iter(stack.ports.pods)))
        for check in CHECKS:
            try:
                saw, mark = await check(clients), "[green]ok"
            except (CheckError, httpx.HTTPError, APIStatusError) as error:
                saw, mark = f"{type(error).__name__}: {error}", "[red]FAILED"
                failed += 1
            table.add_row((check.__doc__ or "").rstrip("."), saw, mark)
    console.print(table)
    console.print(f"{len(CHECKS) - failed} passed, {failed} failed", highlight=False)
    return 1 if failed else 0


async def models_listed(clients: Clients) -> str:
    """The openai SDK lists the models."""
    async with clients.openai() as client:
        listed = [model.id async for model in client.models.list()]
    expect(listed == sorted(clients.stack.ports.pods), listed)
    return ", ".join(listed)


async def chat_answered(clients: Clients) -> str:
    """The openai SDK gets an answer, from the pod that the gateway chose."""
    async with clients.openai(**{"routing-strategy": "least-request"}) as client:
        raw = await client.chat.completions.with_raw_response.create(model=clients.model, messages=_HELLO, max_tokens=8)
    answer = raw.parse()
    expect(answer.usage is not None and answer.usage.completion_tokens == 8, answer)
    expect(raw.headers["target-pod"] == raw.headers["x-inference-pod"], dict(raw.headers))
    expect(raw.headers["routing-strategy"] == "least-request", dict(raw.headers))
    return f"8 tokens from {raw.headers['target-pod']} at {raw.headers['target-pod-ip']}"


async def stream_streams(clients: Clients) -> str:
    """A stream arrives token by token."""
    async with clients.openai() as client:
        stream = await client.chat.completions.create(
            model=clients.model,
            messages=_HELLO,
            max_tokens=32,
            extra_body={"ignore_eos": True},
            stream=True,
            stream_options={"include_usage": True},
        )
        arrivals = [time.monotonic() async for chunk in stream if chunk.choices]
    spread_seconds = arrivals[-1] - arrivals[0]
    expect(len(arrivals) >= 32 and spread_seconds > 0.05, f"{len(arrivals)} chunks in {spread_seconds:.3f} s")
    return f"{len(arrivals)} chunks over {spread_seconds * 1000:.0f} ms"


async def strategies_chosen(clients: Clients) -> str:
    """The routing-strategy header picks the strategy."""
    seen = [
        (await clients.chat(routing_strategy=strategy)).headers["routing-strategy"]
        for strategy in ("random", "least-request")
    ]
    expect(seen == ["random", "least-request"], seen)
    return ", ".join(seen)


async def load_spread(clients: Clients) -> str:
    """Twelve requests at once spread over the pods."""
    answers = await asyncio.gather(*(clients.chat(routing_strategy="least-request") for _ in range(12)))
    pods = sorted(answer.headers["target-pod"] for answer in answers)
    counts = {pod: pods.count(pod) for pod in set(pods)}
    expect(len(counts) == len(clients.stack.ports.pods[clients.model]), counts)
    return ", ".join(f"{pod}: {count}" for pod, count in sorted(counts.items()))


async def requests_limited(clients: Clients) -> str:
    """With rpm 3, the fourth request in a minute is refused."""
    await clients.create_user("check-rpm", rpm=3, tpm=100_000)
    statuses = [(await clients.chat(user="check-rpm")).status_code for _ in range(3)]
    refused = await clients.chat(user="check-rpm")
    message = refused.json()["error"]["message"]
    expect((statuses, refused.status_code) == ([200] * 3, 429), f"{statuses} {refused.status_code}")
    expect(message == "user: check-rpm has exceeded RPM: 3", message)
    return f"200, 200, 200, 429 {message}"


async def tokens_limited(clients: Clients) -> str:
    """With tpm 10, tokens are charged after the answer, and then refused."""
    await clients.create_user("check-tpm", rpm=100, tpm=10)
    first = await clients.chat(user="check-tpm")
    expect(first.status_code == 200, first.text)
    for _ in range(50):
        await asyncio.sleep(0.2)
        second = await clients.chat(user="check-tpm")
        if second.status_code != 200:
            break
    message = second.json().get("error", {}).get("message")
    expect(second.status_code == 429 and message == "user: check-tpm has exceeded TPM: 10", second.text)
    return f"429 {message}"


async def mistakes_named(clients: Clients) -> str:
    """Bad requests get OpenAI-style errors."""
    cases = {
        "malformed JSON": (await clients.chat("{"), 400),
        "unknown model": (await clients.chat('{"model": "nope", "messages": [1]}'), 400),
        "missing model": (await clients.chat('{"messages": [1]}'), 400),
        "unknown strategy": (await clients.chat(routing_strategy="best"), 400),
        "unknown user": (await clients.chat(user="nobody"), 401),
        "unknown path": (await clients.http.get(f"{clients.stack.gateway_url}/nowhere"), 404),
    }
    for name, (answer, status) in cases.items():
        shaped = answer.headers["content-type"].startswith("application/json") and answer.json()["error"]["message"]
        expect(answer.status_code == status and shaped, f"{name}: {answer.status_code} {answer.text}")
    return ", ".join(f"{name} {answer.status_code}" for name, (answer, _) in cases.items())


async def targets_not_spoofed(clients: Clients) -> str:
    """A client's own target-pod is ignored."""
    first, other = clients.stack.ports.pods.values()
    answer = await clients.chat(target_pod=f"127.0.0.1:{other[0]}", routing_strategy="random")
    expect(answer.status_code == 200, answer.text)
    port = int(answer.headers["target-pod-ip"].rpartition(":")[2])
    expect(port in first, f"answered by port {port}, the client asked for {other[0]}")
    return f"asked for :{other[0]}, answered by {answer.headers['target-pod-ip']}"


async def other_endpoints(clients: Clients) -> str:
    """Completions, embeddings, responses and messages answer."""
    model = clients.model
    async with clients.openai() as client:
        completion = await client.completions.create(model=model, prompt="Hello", max_tokens=4)
        embedding = await client.embeddings.create(model=model, input="Hello", encoding_format="float")
        response = await client.responses.create(model=model, input="Hello", max_output_tokens=4)
    body = {"model": model, "messages": _HELLO, "max_tokens": 4}
    message = await clients.http.post(f"{clients.stack.gateway_url}/v1/messages?beta=true", json=body)
    expect(completion.choices and embedding.data and response.output and message.status_code == 200, message.text)
    return f"{len(embedding.data[0].embedding)} dimensions, {message.json()['usage']}"


async def nothing_leaks(clients: Clients) -> str:
    """Afterwards nothing is in flight."""
    for _ in range(50):
        pods = (await clients.http.get(f"{clients.stack.ops_url}/debug/pods")).json()
        inflight = sum(pod["inflight_requests"] for pod in pods)
        if not inflight:
            break
        await asyncio.sleep(0.1)
    expect(inflight == 0, f"{inflight} in flight")
    return f"0 in flight, {sum(pod['requests_total'] for pod in pods)} requests routed"


CHECKS: tuple[Callable[[Clients], Awaitable[str]], ...] = (
    models_listed,
    chat_answered,
    stream_streams,
    strategies_chosen,
    load_spread,
    requests_limited,
    tokens_limited,
    mistakes_named,
    targets_not_spoofed,
    other_endpoints,
    nothing_leaks,
)
