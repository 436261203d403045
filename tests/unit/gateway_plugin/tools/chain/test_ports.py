"""Ports that nobody else is given between being found and being listened on."""

import socket
from pathlib import Path

from gateway_plugin.tools.chain.ports import Ports, free_port


def test_no_client_is_ever_given_one() -> None:
    clients_from = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert all(free_port() < clients_from for _ in range(100))


def test_none_comes_twice() -> None:
    assert len({free_port() for _ in range(200)}) == 200


def test_one_that_is_taken_is_passed_over() -> None:
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        port = taken.getsockname()[1]
        ports = Ports()
        assert ports.pick(port) != port


def test_the_usual_one_where_it_is_free() -> None:
    port = free_port()
    assert Ports().pick(port) == port
    assert Ports(usual=False).pick(port) != port
