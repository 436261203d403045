"""Host names to addresses, with a memory, because name servers fail and shuffle.

- The first answer counts, IPv4 before IPv6; while a later answer still offers the address in use, it stays in use:
  a pod must not change its identity because a name server rotates its records.
- "No such name" makes the pod not ready. No answer at all (timeout, temporary failure) changes nothing for a name
  that was resolved before: an outage of the name server must not take working pods down.
- In both cases the last known address is kept.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from gateway_plugin.pods.addresses import is_ip

logger = logging.getLogger(__name__)

# A host name to its addresses, best first. Raises OSError when there are none.
Resolve = Callable[[str], Awaitable[Sequence[str]]]


async def system_addresses(host: str) -> Sequence[str]:
    """What the operating system says."""
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(sockaddr[0]) for *_, sockaddr in found]


@dataclass(frozen=True, slots=True)
class ResolvedNames:
    """`ip` is empty while the name has never been resolved; `problem` says why the last look-up failed."""

    ip: str = ""
    ready: bool = False
    problem: str = ""


class HostBook:
    """The hosts of the file. IP addresses stand for themselves."""

    def __init__(self, resolve: Resolve, timeout_seconds: float) -> None:
        self._resolve = resolve
        self._timeout_seconds = timeout_seconds
        self._known: dict[str, ResolvedNames] = {}

    def __getitem__(self, host: str) -> ResolvedNames:
        return ResolvedNames(host, ready=True) if is_ip(host) else self._known.get(host, ResolvedNames())

    async def refresh(self, hosts: Iterable[str]) -> None:
        """Looks all names up at once, and forgets those that are not asked for any more."""
        names = sorted({host for host in hosts if not is_ip(host)})
        answers = await asyncio.gather(*(self._ask(name) for name in names))
        known = dict(zip(names, answers, strict=True))
        for name in names:
            if known[name] != self[name]:
                _log(name, known[name])
        self._known = known

    async def _ask(self, host: str) -> ResolvedNames:
        before = self[host]
        try:
            async with asyncio.timeout(self._timeout_seconds):
                addresses = await self._resolve(host)
        except TimeoutError:
            return ResolvedNames(before.ip, before.ready, "no answer in time")
        except OSError as error:
            temporary = error.errno == socket.EAI_AGAIN
            return ResolvedNames(before.ip, before.ready and temporary, error.strerror or str(error))
        return (
            ResolvedNames(_choose(addresses, before.ip), ready=True)
            if addresses
            else ResolvedNames(before.ip, False, "no address")
        )


def _choose(addresses: Sequence[str], used: str) -> str:
    if used in addresses:
        return used
    return next((address for address in addresses if ":" not in address), addresses[0])


def _log(host: str, now: ResolvedNames) -> None:
    if now.problem:
        state = "ready" if now.ready else "not ready"
        logger.warning("host %s does not resolve (%s): %s, last address %s", host, now.problem, state, now.ip or "none")
    else:
        logger.info("host %s is %s", host, now.ip)
