"""Where webhooks may go."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from gateway_plugin.models.webhooks.delivery import DeliveryError, http_sender
from gateway_plugin.models.webhooks.records import Webhook
from gateway_plugin.models.webhooks.targets import ForbiddenTargetError, addresses_of, check_address, check_url

PRIVATE = [
    "127.0.0.1",
    "10.1.2.3",
    "192.168.0.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1",
    "fe80::1%eth0",
    "fd00::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "::127.0.0.1",
    "::a00:1",
    "64:ff9b:1::a00:1",
    "2606:2800:220:1:0:5efe:10.0.0.1",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_that_are_not_public(address: str):
    with pytest.raises(ForbiddenTargetError):
        check_address(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1", "64:ff9b::5db8:d822"])
def test_public_addresses(address: str):
    check_address(address)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hooks.example",
        "ftp://hooks.example/",
        "file:///etc/passwd",
        "http://",
        "http:///x",
        "http://user:password@hooks.example/",
        "http://hooks.example:99999/",
        "http://hooks.example/#part",
        "http://hooks.example/a b",
        "http://hooks.example/\n",
        "http://[::1/",
        "http://127.0.0.1:8080/",
        "http://[::1]:8080/",
        "http://169.254.169.254/latest/meta-data",
        "https://hooks.example/" + "x" * 3000,
    ],
)
def test_urls_that_no_webhook_can_have(url: str):
    with pytest.raises((ValueError, ForbiddenTargetError)):
        check_url(url, private=False)


def test_urls_that_may_be():
    check_url("https://hooks.example/models?x=1", private=False)
    check_url("http://93.184.216.34:8080/", private=False)
    check_url("http://127.0.0.1:8080/", private=True)


def answers(*addresses: str) -> Any:
    async def getaddrinfo(*_: object, **__: object) -> list[Any]:
        return [
            (socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80))
            for address in addresses
        ]

    return getaddrinfo


async def test_a_name_is_what_it_is_looked_up_to_be(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", answers("93.184.216.34", "93.184.216.34"))
    assert await addresses_of("hooks.example", 80, private=False) == ["93.184.216.34"]


@pytest.mark.parametrize("addresses", [("127.0.0.1",), ("93.184.216.34", "10.0.0.1"), ("::ffff:127.0.0.1",)])
async def test_one_private_address_is_enough_to_refuse(monkeypatch: pytest.MonkeyPatch, addresses: tuple[str, ...]):
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", answers(*addresses))
    with pytest.raises(ForbiddenTargetError):
        await addresses_of("hooks.example", 80, private=False)
    assert await addresses_of("hooks.example", 80, private=True)


LOOPBACK_AS_C_WRITES_IT = ["127.1", "0x7f.1", "0x7f000001", "2130706433", "017700000001", "127.0.1", "0"]


@pytest.mark.parametrize("host", LOOPBACK_AS_C_WRITES_IT)
async def test_addresses_in_other_clothes_are_addresses(host: str):
    # They pass for names, and what the system makes of these is what counts.
    with pytest.raises(ForbiddenTargetError):
        await addresses_of(host, 80, private=False)


async def test_the_connection_goes_to_the_address_that_was_checked(monkeypatch: pytest.MonkeyPatch):
    """A name that is looked up again would be somebody else by then."""
    heard: list[str] = []

    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        writer.close()

    lookups = iter([["127.0.0.1"]])

    async def getaddrinfo(host: str, port: int, **_: object) -> list[Any]:
        (address,) = next(lookups)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    async with await asyncio.start_server(receive, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
        async with http_sender(5.0, private=True) as send:
            await send(Webhook("wh", f"http://hooks.example:{port}/x?y=1", "a-secret-of-sixteen"), "e", b"{}")
    (request,) = heard
    assert request.startswith("POST /x?y=1 HTTP/1.1\r\n")
    assert f"\r\nhost: hooks.example:{port}\r\n" in request.lower()


@pytest.mark.parametrize("url", [f"http://{host}:1/" for host in (*LOOPBACK_AS_C_WRITES_IT, "localhost")])
async def test_nothing_is_sent_to_a_private_address(url: str):
    async with http_sender(5.0, private=False) as send:
        with pytest.raises(DeliveryError, match="not a public address"):
            await send(Webhook("wh", url, "a-secret-of-sixteen"), "e", b"{}")
