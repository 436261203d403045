from __future__ import annotations

import asyncio
import logging
import socket
from typing import TYPE_CHECKING

import pytest

from gateway_plugin.pods.resolver import HostBook, ResolvedNames, system_addresses

if TYPE_CHECKING:
    from collections.abc import Sequence

NO_NAME = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
NO_SERVER = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


class Names:
    """A name server: addresses, or the error to raise; a name that it has never heard of hangs."""

    def __init__(self) -> None:
        self.answers: dict[str, list[str] | OSError] = {}

    async def __call__(self, host: str) -> Sequence[str]:
        answer = self.answers.get(host)
        if answer is None:
            await asyncio.Event().wait()
        if isinstance(answer, OSError):
            raise answer
        return answer or []


@pytest.fixture
def names() -> Names:
    return Names()


@pytest.fixture
def book(names: Names) -> HostBook:
    return HostBook(names, timeout_seconds=2.0)


async def answer(book: HostBook, names: Names, given: list[str] | OSError) -> ResolvedNames:
    names.answers["h"] = given
    await book.refresh(["h"])
    return book["h"]


async def test_ipv4_is_preferred_and_the_first_counts(book: HostBook, names: Names) -> None:
    assert await answer(book, names, ["fd00::1", "10.0.0.2", "10.0.0.1"]) == ResolvedNames("10.0.0.2", ready=True)


async def test_ipv6_where_there_is_nothing_else(book: HostBook, names: Names) -> None:
    assert await answer(book, names, ["fd00::1", "fd00::2"]) == ResolvedNames("fd00::1", ready=True)


async def test_an_address_stays_while_it_is_offered(book: HostBook, names: Names) -> None:
    await answer(book, names, ["10.0.0.1", "10.0.0.2"])
    assert (await answer(book, names, ["10.0.0.2", "10.0.0.1"])).ip == "10.0.0.1"
    assert (await answer(book, names, ["10.0.0.2", "10.0.0.3"])).ip == "10.0.0.2"


async def test_an_unknown_name_is_not_ready_and_keeps_its_last_address(book: HostBook, names: Names) -> None:
    assert await answer(book, names, NO_NAME) == ResolvedNames("", ready=False, problem="Name or service not known")
    await answer(book, names, ["10.0.0.1"])
    assert await answer(book, names, NO_NAME) == ResolvedNames(
        "10.0.0.1", ready=False, problem="Name or service not known"
    )
    assert await answer(book, names, []) == ResolvedNames("10.0.0.1", ready=False, problem="no address")


async def test_an_outage_of_the_name_server_changes_nothing_for_known_names(book: HostBook, names: Names) -> None:
    assert not (await answer(book, names, NO_SERVER)).ready
    await answer(book, names, ["10.0.0.1"])
    now = await answer(book, names, NO_SERVER)
    assert (now.ip, now.ready) == ("10.0.0.1", True)
    await answer(book, names, NO_NAME)
    assert not (await answer(book, names, NO_SERVER)).ready


@pytest.mark.looptime
async def test_hanging_look_ups_end_together_at_the_timeout(book: HostBook, names: Names) -> None:
    names.answers["h"] = ["10.0.0.1"]
    start = asyncio.get_running_loop().time()
    await book.refresh(["a", "b", "h"])
    assert asyncio.get_running_loop().time() - start == 2.0
    assert (book["a"], book["h"].ip) == (ResolvedNames(problem="no answer in time"), "10.0.0.1")


async def test_one_line_per_change(book: HostBook, names: Names, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for given in (["10.0.0.1"], ["10.0.0.1"], NO_SERVER, NO_SERVER, NO_NAME, NO_NAME, ["10.0.0.1"]):
        await answer(book, names, given)
    assert [record.getMessage() for record in caplog.records] == [
        "host h is 10.0.0.1",
        "host h does not resolve (Temporary failure in name resolution): ready, last address 10.0.0.1",
        "host h does not resolve (Name or service not known): not ready, last address 10.0.0.1",
        "host h is 10.0.0.1",
    ]


async def test_forgotten_hosts_leave_no_memory(book: HostBook, names: Names) -> None:
    await answer(book, names, ["10.0.0.1"])
    await book.refresh([])
    assert book["h"] == ResolvedNames()


async def test_addresses_need_no_name_server(book: HostBook) -> None:
    await book.refresh(["10.0.0.1", "fd00::1"])
    assert (book["10.0.0.1"], book["fd00::1"].ip) == (ResolvedNames("10.0.0.1", ready=True), "fd00::1")


async def test_the_operating_system_knows_localhost() -> None:
    assert set(await system_addresses("localhost")) <= {"127.0.0.1", "::1"}
