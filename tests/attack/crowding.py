"""`python -m tests.attack.crowding [--attacks big_bodies,resets] [--seconds 10] [--share 1]
[--as-equals] [--transport native] [--flavour standalone]`

What one client can do to ten others. The ten ask for short answers, quietly first, then beside each attack of `crowd`;
said is how many of them were answered, how late, and what the plugin and Envoy held in memory meanwhile.

The machine also runs the attacker, the engines and the ten, which elsewhere are other machines. So the attacker gets
what all others leave of its cores, at most `--share` of one: it is last in the kernel's order, as a process and as a
session (`last_in_line`). And each attack is made twice: on the gateway, and on a bare Envoy beside it (`bare`), which
costs the machine about as much and the gateway nothing. The p99 is told as a multiple of the quiet one, and of the one
beside the bare Envoy: what is ours is the second.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
import tempfile
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp

from benchmarks.procfs import cpu_seconds, raise_open_files, rss_bytes
from gateway_plugin.tools.chain.stack import Stack, StackOptions
from gateway_plugin.tools.envoy_config.model import EnvoyConfig
from tests.attack.bare import bare_envoy
from tests.attack.crowd import ATTACKS
from tests.envoy_flavours import TEMPLATES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CLIENTS = 10
PAUSE_SECONDS = 0.1
LEAST_ANSWERED = 0.999
MOST_TIMES_QUIET = 3.0
MOST_BYTES = 512 * 1024 * 1024
_MIB = 1024 * 1024
_GRACE_SECONDS = 1.0
_WARM_SECONDS = 1.0
_LAST_WORDS_SECONDS = 15.0
_BODY = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 4}


@dataclass
class Seen:
    """What became of the ten."""

    name: str
    seconds: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    plugin_bytes: int = 0
    envoy_bytes: int = 0
    plugin_cpu_seconds: float = 0.0
    envoy_cpu_seconds: float = 0.0
    attacker: str = ""
    control_p99_seconds: float = 0.0
    """Of the ten while the same attack was made on a bare Envoy."""

    @property
    def answered(self) -> float:
        """The share that was answered well."""
        return len(self.seconds) / max(1, len(self.seconds) + len(self.failed))

    @property
    def p99_seconds(self) -> float:
        """Of those that were answered."""
        ordered = sorted(self.seconds)
        return ordered[int(len(ordered) * 0.99)] if ordered else float("inf")

    def faults(self, quiet: Seen) -> list[str]:
        """What does not hold."""
        found = []
        if self.answered < LEAST_ANSWERED:
            found.append(f"answered {self.answered:.2%}: {sorted(set(self.failed))[:3]}")
        if self.p99_seconds > MOST_TIMES_QUIET * quiet.p99_seconds:
            found.append(f"p99 is {self.p99_seconds / quiet.p99_seconds:.1f} times the quiet one")
        if self.plugin_bytes > MOST_BYTES:
            found.append(f"the plugin holds {self.plugin_bytes / _MIB:.0f} MiB")
        return found


@dataclass(frozen=True)
class Rig:
    """How it is measured."""

    seconds: float
    share: float
    as_equals: bool = False
    """The attacker gets as much of the machine as everybody else, if it wants it."""


class Crowding:
    """The ten, and what is measured beside them."""

    def __init__(self, stack: Stack, rig: Rig) -> None:
        self._stack = stack
        self._seconds = rig.seconds
        self._rig = rig

    async def quiet(self) -> Seen:
        """Nobody else is there."""
        async with self._warm_session() as session:
            return await self._watched(session, Seen("quiet"))

    async def beside(self, attack: str, port: int = 0) -> Seen:
        """One client does its worst, to the gateway or to whoever is at the port."""
        seen = Seen(attack)
        async with self._warm_session() as session:
            attacker = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "tests.attack.crowd", str(port or self._stack.ports.gateway), attack),
                str(self._seconds + 2 * _GRACE_SECONDS),
                str(self._rig.share),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                start_new_session=True,
                preexec_fn=None if self._rig.as_equals else last_in_line,
            )
            await asyncio.sleep(_GRACE_SECONDS)
            await self._watched(session, seen)
            seen.attacker = await _last_words(attacker)
        return seen

    @asynccontextmanager
    async def _warm_session(self) -> AsyncIterator[aiohttp.ClientSession]:
        """The connections of the ten, who were here before: nobody judges first requests by what others do."""
        async with aiohttp.ClientSession(self._stack.gateway_url, timeout=aiohttp.ClientTimeout(total=10)) as session:
            end = time.monotonic() + _WARM_SECONDS
            await asyncio.gather(*(self._client(session, number, end, Seen("warm")) for number in range(CLIENTS)))
            yield session

    async def _watched(self, session: aiohttp.ClientSession, seen: Seen) -> Seen:
        watching = asyncio.create_task(self._watch_memory(seen))
        plugin, envoy = self._stack.plugin.pid, self._stack.envoy_pid
        before = cpu_seconds(plugin), cpu_seconds(envoy)
        end = time.monotonic() + self._seconds
        await asyncio.gather(*(self._client(session, number, end, seen) for number in range(CLIENTS)))
        watching.cancel()
        seen.plugin_cpu_seconds = cpu_seconds(plugin) - before[0]
        seen.envoy_cpu_seconds = cpu_seconds(envoy) - before[1]
        return seen

    async def _client(self, session: aiohttp.ClientSession, number: int, end: float, seen: Seen) -> None:
        await asyncio.sleep(PAUSE_SECONDS * number / CLIENTS)
        while time.monotonic() < end:
            started = time.perf_counter()
            try:
                async with session.post("/v1/chat/completions", json=_BODY, headers={"user": f"u{number}"}) as answer:
                    text = await answer.text()
                if answer.status == 200:
                    seen.seconds.append(time.perf_counter() - started)
                else:
                    seen.failed.append(f"{answer.status} {text[:100]}")
            except (aiohttp.ClientError, TimeoutError) as error:
                seen.failed.append(repr(error)[:100])
            await asyncio.sleep(PAUSE_SECONDS)

    async def _watch_memory(self, seen: Seen) -> None:
        while True:
            seen.plugin_bytes = max(seen.plugin_bytes, rss_bytes(self._stack.plugin.pid))
            seen.envoy_bytes = max(seen.envoy_bytes, rss_bytes(self._stack.envoy_pid))
            await asyncio.sleep(0.05)


async def _last_words(attacker: asyncio.subprocess.Process) -> str:
    """What it was told, if it has come so far: on a busy machine it may not even have begun."""
    try:
        output, _ = await asyncio.wait_for(attacker.communicate(), _LAST_WORDS_SECONDS)
    except TimeoutError:
        attacker.kill()
        await attacker.wait()
        return "the attacker got no time to speak"
    return output.decode().strip()


def last_in_line() -> None:
    """This process and its session get what others leave.

    Linux shares cores between sessions first (`autogroup`), and a process's own priority counts inside of one.
    """
    os.nice(19)
    with contextlib.suppress(OSError):  # a kernel without sessions' shares
        Path("/proc/self/autogroup").write_text("19")


async def create_users(stack: Stack) -> None:
    """Ten with room, and one without."""
    async with aiohttp.ClientSession(stack.api_url) as session:
        for name, rpm in [*((f"u{number}", 1_000_000) for number in range(CLIENTS)), ("greedy", 1)]:
            async with session.post("/CreateUser", json={"name": name, "rpm": rpm, "tpm": 1_000_000_000}) as answer:
                assert answer.status == 200, await answer.text()


async def measure(options: StackOptions, rig: Rig, attacks: list[str]) -> list[Seen]:
    """The quiet run, and two beside each attack, of which the first is aimed elsewhere; each on a chain of its own."""
    found = []
    print(HEAD, flush=True)  # noqa: T201 - for whoever waits
    for attack in ["", *attacks]:
        control = await _on_a_chain(options, rig, attack, elsewhere=True) if attack else None
        found.append(await _on_a_chain(options, rig, attack))
        if control is not None:
            found[-1].control_p99_seconds = control.p99_seconds
        quiet, newest = found[0], found[-1]
        print(row(newest, quiet), flush=True)  # noqa: T201
    return found


async def _on_a_chain(options: StackOptions, rig: Rig, attack: str, *, elsewhere: bool = False) -> Seen:
    with tempfile.TemporaryDirectory() as directory:
        async with Stack(options, Path(directory)) as stack:
            await create_users(stack)
            crowding = Crowding(stack, rig)
            if elsewhere:
                async with bare_envoy(Path(directory)) as port:
                    return await crowding.beside(attack, port)
            return await (crowding.beside(attack) if attack else crowding.quiet())


HEAD = """\
                                  p99  x quiet: ours  bare  ours /  plugin  CPU  envoy  CPU
               answers     of     ms                      bare     MiB    s    MiB    s"""


def row(seen: Seen, quiet: Seen) -> str:
    """One line of the table."""
    faults = "; ".join(seen.faults(quiet)) or "holds"
    bare = seen.control_p99_seconds
    control = f"{bare / quiet.p99_seconds:5.1f}  {seen.p99_seconds / bare:6.1f}" if bare else f"{'':13}"
    return (
        f"{seen.name:14} {len(seen.seconds):7} {seen.answered:7.2%} {seen.p99_seconds * 1000:6.0f} "
        f"{seen.p99_seconds / quiet.p99_seconds:13.1f}  {control}  "
        f"{seen.plugin_bytes / _MIB:6.0f} {seen.plugin_cpu_seconds:4.1f}  "
        f"{seen.envoy_bytes / _MIB:5.0f} {seen.envoy_cpu_seconds:4.1f}  {faults}  {seen.attacker}"
    )


def main() -> int:
    """The exit code is 1 when something does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--share", type=float, default=1.0, help="of a core, for the attacker")
    parser.add_argument("--as-equals", action="store_true", help="the attacker is not last in line")
    parser.add_argument("--transport", default="native", choices=["native", "grpcio"])
    parser.add_argument("--flavour", default="standalone", choices=list(TEMPLATES))
    parser.add_argument("attacks", nargs="*", metavar="ATTACK", help=", ".join(ATTACKS))
    parser.add_argument("--attacks", dest="listed", default="", help="the same in one word, with commas")
    arguments = parser.parse_args()
    raise_open_files()
    environment = {
        "GATEWAY_TRANSPORT": arguments.transport,
        "GATEWAY_LIMITER_TIMEOUT_SECONDS": "1",
        "GATEWAY_REDIS_TIMEOUT_SECONDS": "2",
    }
    options = StackOptions(
        {"m": 2},
        speed=50,
        plugin_environment=environment,
        envoy_templates=TEMPLATES[arguments.flavour],
        envoy={"max_requests_per_second": EnvoyConfig().max_requests_per_second},
    )
    attacks = [*arguments.attacks, *filter(None, arguments.listed.split(","))] or list(ATTACKS)
    if unknown := [attack for attack in attacks if attack not in ATTACKS]:
        parser.error(f"no such attack: {', '.join(unknown)}; there are {', '.join(ATTACKS)}")
    rig = Rig(arguments.seconds, arguments.share, arguments.as_equals)
    found = asyncio.run(measure(options, rig, attacks))
    return int(any(seen.faults(found[0]) for seen in found[1:]))


if __name__ == "__main__":
    sys.exit(main())
