"""`gateway-plugin up` as a process, with simulated engines, on free ports."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from gateway_plugin.tools.chain.ports import free_port

PATIENCE_SECONDS = 200.0
"""On a machine that does much else."""
CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 4}


def command(name: str = "gateway-plugin") -> str:
    """The console script of this environment."""
    return str(Path(sys.executable).parent / name)


@contextmanager
def engines(program: str, *models: str) -> Iterator[list[int]]:
    """One simulated engine a model, each a process; their ports."""
    ports = [free_port() for _ in models]
    processes = [
        subprocess.Popen([program, "simulate", model, "--port", str(port), "--speed", "50"], start_new_session=True)
        for model, port in zip(models, ports, strict=True)
    ]
    try:
        for port in ports:
            until(partial(_is_well, port))
        yield ports
    finally:
        for process in processes:
            process.kill()
            process.wait()


@dataclass
class RunningHost:
    """The command, and what it wrote down."""

    process: subprocess.Popen[str]
    directory: Path
    url: str
    program: str
    verify: Any = True

    @property
    def state(self) -> dict[str, Any]:
        """Ports and process id."""
        state: dict[str, Any] = json.loads((self.directory / "up.json").read_text())
        return state

    def api(self, path: str) -> str:
        """The users API of the first worker."""
        return f"http://127.0.0.1:{self.state['ports']['workers'][0]['api']}{path}"

    def chat(self, model: str = "m", **headers: str) -> httpx.Response:
        """Through Envoy, on a connection of its own."""
        body = CHAT | {"model": model}
        return httpx.post(f"{self.url}/v1/chat/completions", json=body, headers=headers, timeout=20, verify=self.verify)

    def answers(self, model: str = "m") -> bool:
        """Whether a chat is served now."""
        return self.chat(model).status_code == 200

    def children(self) -> dict[str, int]:
        """Process ids by what runs."""
        found = {}
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for pid in listed:
            line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            environment = Path(f"/proc/{pid}/environ").read_bytes().decode()
            found[_what(line, environment, pid)] = int(pid)
        return found

    def pods(self, *words: str) -> subprocess.CompletedProcess[str]:
        """`gateway-plugin pods ...` for this host."""
        argv = [self.program, "pods", *words, "--directory", str(self.directory)]
        return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


def _is_well(port: int) -> bool:
    return httpx.get(f"http://127.0.0.1:{port}/health", timeout=5).status_code == 200


def _what(line: str, environment: str, pid: str) -> str:
    if "--standby" in line:
        return f"standby-{pid}"  # the spare one, or one that took a worker's place
    if " serve" in line:
        return environment.partition("POD_NAME=")[2].partition("\0")[0] or "worker"
    # A server that writes its own title, in place of its command line.
    return "envoy" if "envoy.yaml" in line else "valkey" if "valkey" in line.partition(" ")[0] else line


@contextmanager
def host(
    directory: Path, ports: Sequence[int], *options: str, program: str = "", scheme: str = "http", verify: Any = True
) -> Iterator[RunningHost]:
    """Serves already; what is left of it afterwards is a failure."""
    program = program or command()
    gateway = free_port()
    argv = [program, "up", "--directory", str(directory), "--listen", f"127.0.0.1:{gateway}", "--drain-seconds", "5"]
    for port in ports:
        argv += ["--pod", f"http://127.0.0.1:{port}"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GATEWAY_")}
    process = subprocess.Popen(
        [*argv, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment,
        start_new_session=True,
    )  # fmt: skip
    running = RunningHost(process, directory, f"{scheme}://127.0.0.1:{gateway}", program, verify)
    try:
        until(lambda: process.poll() is not None or running.answers() or running.chat().status_code < 500)
        yield running
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE_SECONDS)


def until(true: Callable[[], object]) -> float:
    """Seconds until it holds."""
    started = time.monotonic()
    while True:
        try:
            if true():
                return time.monotonic() - started
        except (httpx.HTTPError, OSError, ValueError, KeyError):
            pass
        if time.monotonic() - started > PATIENCE_SECONDS:
            raise AssertionError("it did not happen")
        time.sleep(0.05)


def alive(pid: int) -> bool:
    """Whether the process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def is_gone(pid: int) -> bool:
    """The opposite."""
    return not alive(pid)
