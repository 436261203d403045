"""Where webhooks may go."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from gateway_plugin.webhooks.targets import ForbiddenTargetError, GuardedResolver, check_address, check_url

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
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", answers("93.184.216.34"))
    (found,) = await GuardedResolver(private=False).resolve("hooks.example", 80)
    assert (found["host"], found["port"], found["hostname"]) == ("93.184.216.34", 80, "hooks.example")


@pytest.mark.parametrize("addresses", [("127.0.0.1",), ("93.184.216.34", "10.0.0.1"), ("::ffff:127.0.0.1",)])
async def test_one_private_address_is_enough_to_refuse(monkeypatch: pytest.MonkeyPatch, addresses: tuple[str, ...]):
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", answers(*addresses))
    with pytest.raises(ForbiddenTargetError):
        await GuardedResolver(private=False).resolve("hooks.example", 80)
    assert await GuardedResolver(private=True).resolve("hooks.example", 80)
