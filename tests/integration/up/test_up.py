"""`gateway-plugin up`: the one command, its parts killed, its end, its list of pods."""

from __future__ import annotations

import json
import logging
import os
import signal
import ssl
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest
import trustme

from gateway_plugin.tools.chain.ports import free_port
from tests.integration.up.host_under_test import RunningHost, alive, command, engines, host, is_gone, until

logger = logging.getLogger(__name__)

pytestmark = [pytest.mark.envoy, pytest.mark.redis, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def ports() -> Iterator[list[int]]:
    with engines(command(), "m", "m", "other") as started:
        yield started


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, ports: list[int]) -> Iterator[RunningHost]:
    with host(tmp_path_factory.mktemp("up"), ports[:2], "--workers", "2") as one:
        yield one


def test_what_is_killed_comes_back(running: RunningHost):
    # The spare process, too, has to be there first.
    until(lambda: len(running.children()) == 5)
    for name in ("valkey", "worker-0", "worker-1", "envoy"):
        children = running.children()
        victim = children[name]
        os.kill(victim, signal.SIGKILL)
        until(partial(is_gone, victim))
        healed = until(lambda: running.answers() and len(running.children()) == 5)
        logger.warning("%s is healed after %.2f s", name, healed)


def test_users_outlive_the_command(tmp_path: Path, ports: list[int]):
    with host(tmp_path, ports[:1]) as one:
        created = httpx.post(one.api("/v1/users"), json={"name": "lgy", "rpm": 100}, timeout=20)
        assert created.status_code == 201, created.text
        assert one.chat(user="lgy").status_code == 200
        assert (tmp_path / "valkey/valkey.conf").stat().st_mode & 0o077 == 0
    with host(tmp_path, []) as again:
        assert httpx.get(again.api("/v1/users/lgy"), timeout=20).json()["rpm"] == 100
        assert again.answers()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left(tmp_path: Path, ports: list[int], number: signal.Signals):
    with host(tmp_path, ports[:1]) as one:
        children = one.children()
        assert {"valkey", "envoy", "worker-0"} <= children.keys()
        one.process.send_signal(number)
        until(lambda: not any(alive(pid) for pid in (*children.values(), one.process.pid)))


def test_pods_come_and_go_while_it_runs(running: RunningHost, ports: list[int]):
    third = f"http://127.0.0.1:{ports[2]}"
    assert running.chat("other").status_code == 400
    assert "is added" in running.pods("add", third).stdout
    until(lambda: running.answers("other"))
    rows = json.loads(running.pods("list", "--json").stdout)
    assert [(row["engine"], row["models"], row["state"]) for row in rows] == [
        ("vllm", ["m"], "ready"), ("vllm", ["m"], "ready"), ("vllm", ["other"], "ready")
    ]  # fmt: skip
    assert "gets nothing new" in running.pods("drain", third).stdout
    until(lambda: running.chat("other").status_code == 503)
    running.pods("drain", "--undo", third)
    until(lambda: running.answers("other"))
    running.pods("remove", third)
    until(lambda: running.chat("other").status_code == 400)
    refused = running.pods("remove", third)
    assert (refused.returncode, "is not in the list" in refused.stderr) == (1, True)


def test_an_engine_that_comes_later_is_taken_on(tmp_path: Path):
    late = free_port()
    with host(tmp_path, [late]) as one:
        assert one.chat().status_code == 400
        engine = subprocess.Popen([command(), "simulate", "m", "--port", str(late)], start_new_session=True)
        try:
            until(one.answers)
        finally:
            engine.kill()
            engine.wait()


def test_clients_may_speak_tls(tmp_path: Path, ports: list[int]):
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    chain, key, trusted = tmp_path / "cert.pem", tmp_path / "key.pem", tmp_path / "ca.pem"
    certificate.cert_chain_pems[0].write_to_path(chain)
    certificate.private_key_pem.write_to_path(key)
    authority.cert_pem.write_to_path(trusted)
    context = ssl.create_default_context(cafile=str(trusted))
    options = ("--tls-cert", str(chain), "--tls-key", str(key))
    with host(tmp_path / "up", ports[:1], *options, scheme="https", verify=context) as one:
        assert one.answers()


def test_two_of_them_do_not_share_a_directory(running: RunningHost, ports: list[int]):
    with host(running.directory, ports[:1]) as second:
        assert second.process.wait(60) == 1
