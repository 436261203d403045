from __future__ import annotations

import pytest

from gateway_plugin.pods.addresses import is_ip, parse_host_port


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.0.0.1", "10.0.0.1:8000"),
        ("10.0.0.1:80", "10.0.0.1:80"),
        ("[fd00::1]:9000", "[fd00::1]:9000"),
        ("[fd00::1]", "[fd00::1]:8000"),
        ("fd00::1", "[fd00::1]:8000"),
        ("FD00:0:0::0001", "[fd00::1]:8000"),
        ("fd00::1:8000", "[fd00::1:8000]:8000"),  # without brackets all of it is the address
        ("::ffff:10.0.0.1", "[::ffff:10.0.0.1]:8000"),  # as inet_ntop and Envoy write it
        ("Pod-1.Models.svc.cluster.local:81", "pod-1.models.svc.cluster.local:81"),
        ("absolute.example.:81", "absolute.example.:81"),
        ("under_score", "under_score:8000"),
        ("a" * 63, "a" * 63 + ":8000"),
    ],
)
def test_accepted(text: str, expected: str) -> None:
    assert str(parse_host_port(text)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":8000",
        "host:",
        "host:0",
        "host:65536",
        "host:123456",
        "host:80a",
        "host:-1",
        "host:８０",  # noqa: RUF001 - digits, but not ASCII ones
        "http://host:8000",
        "host/path",
        "user@host",
        " host",
        "host\n",
        "ho st",
        "-host",
        "host-",
        "a..b",
        "a" * 64,
        ".".join(["abc"] * 64),
        "10.0.0.300",
        "10.1",
        "127.0.0.1.",
        "[10.0.0.1]:80",
        "[host]:80",
        "[fd00::1",
        "fd00::1]:80",
        "[fd00::1]80",
        "[]:80",
        "fd00::1::2",
        "fe80::1%eth0",
        "\0",
    ],
)
def test_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the caller writes the message
        parse_host_port(text)


@pytest.mark.parametrize(("host", "expected"), [("10.0.0.1", True), ("fd00::1", True), ("h1", False), ("a.b2", False)])
def test_is_ip(host: str, expected: bool) -> None:
    assert is_ip(host) is expected
