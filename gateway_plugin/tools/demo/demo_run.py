"""`make demo` and `make demo-check`."""

from __future__ import annotations

import asyncio
import fcntl
import signal
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
from rich.console import Console
from rich.live import Live

from gateway_plugin.tools.chain.processes import ProcessError
from gateway_plugin.tools.chain.stack import Stack, StackOptions
from gateway_plugin.tools.demo.check import run_checks
from gateway_plugin.tools.demo.table import picture
from gateway_plugin.tools.envoy_config.process import EnvoyError
from ratelimit import RedisStore

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

MODELS = {"llama-3-8b": 3, "qwen2-7b": 3}
_REFRESH_SECONDS = 0.5
_DIRECTORY = Path(".demo")
_MAX_DEMOS = 20


def run_demo(*, check: bool) -> int:
    """Exit code: 0 when stopped by hand or when every check passed."""
    console = Console()
    try:
        return asyncio.run(_until_stopped(lambda: _check(console) if check else _show(console)))
    except (ProcessError, EnvoyError) as error:
        console.print(str(error), style="red", markup=False, highlight=False)
        return 1


async def _until_stopped(job: Callable[[], Coroutine[None, None, int]]) -> int:
    task = asyncio.create_task(job())
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        return 0


async def _check(console: Console) -> int:
    with own_directory() as directory:
        options = StackOptions(MODELS, default_strategy="prefix-cache-and-load", usual_ports=True)
        async with Stack(options, directory) as stack:
            return await run_checks(stack, console)


async def _show(console: Console) -> int:
    with own_directory() as directory:
        return await _show_in(directory, console)


@contextmanager
def own_directory(base: Path = _DIRECTORY) -> Iterator[Path]:
    """One that no other demo of this clone uses: its data would be deleted under its feet."""
    for number in range(1, _MAX_DEMOS + 1):
        directory = base.absolute() if number == 1 else base.absolute().with_name(f"{base.name}-{number}")
        directory.mkdir(parents=True, exist_ok=True)
        with (directory / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield directory
            return
    raise ProcessError(f"{_MAX_DEMOS} demos run here already")


async def _show_in(directory: Path, console: Console) -> int:
    with console.status("starting Valkey, six simulated pods, the plugin and Envoy"):
        options = StackOptions(MODELS, default_strategy="prefix-cache-and-load", usual_ports=True, playground=True)
        stack = Stack(options, directory)
        await stack.__aenter__()
    try:
        console.print(introduction(stack), markup=False, highlight=False, soft_wrap=True)
        users = RedisStore.from_url(stack.redis_url)
        try:
            await _create_users(stack)
            await _refresh(stack, users, console)
        finally:
            await users.close()
    finally:
        await stack.stop()
    return 0


async def _create_users(stack: Stack) -> None:
    """For the playground: one with room, and one who is refused soon."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5.0)) as session:
        for name, rpm in (("alice", 600), ("bob", 3)):
            body = {"name": name, "rpm": rpm, "tpm": 100_000}
            async with session.post(f"{stack.api_url}/CreateUser", json=body) as response:
                await response.read()


async def _refresh(stack: Stack, users: RedisStore, console: Console) -> None:
    timeout = aiohttp.ClientTimeout(total=2.0)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        with Live(console=console, refresh_per_second=4) as live:
            while True:
                live.update(await picture(session, stack.ops_url, users, console.width))
                await asyncio.sleep(_REFRESH_SECONDS)


def introduction(stack: Stack) -> str:
    """What runs where, and what to try."""
    ports, model = stack.ports, next(iter(stack.ports.pods))
    where = ", ".join(f"{name} on {pods[0]}-{pods[-1]}" for name, pods in ports.pods.items())
    chat = f"""'{{"model": "{model}", "messages": [{{"role": "user", "content": "Say this is a test!"}}]"""
    url = f"{stack.gateway_url}/v1/chat/completions"
    json = '-H "Content-Type: application/json"'
    return f"""
live     {stack.ops_url}/ (the page, with a box for chats as user alice, or as bob, who may ask thrice a minute)
gateway  {stack.gateway_url} (Envoy)      users, models  {stack.api_url}      metrics  {stack.ops_url}/metrics
pods     {where}      Valkey  {ports.redis}      logs  {stack.directory}/

create a user    curl {stack.api_url}/CreateUser {json} -d '{{"name": "lgy", "rpm": 3, "tpm": 10000}}'
chat             curl -i {url} -H "user: lgy" {json} -d {chat}}}'
stream           curl -N {url} {json} -d {chat}, "stream": true}}'
by strategy      curl -i {url} -H "routing-strategy: least-request" {json} -d {chat}}}'
why that pod     curl "{stack.ops_url}/debug/route?model={model}&strategy=prefix-cache-and-load"
hit the limit    repeat the chat line: the fourth within a minute is 429

Ctrl-C stops all of it.
"""
