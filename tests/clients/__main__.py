"""`python -m tests.clients`: clients that are no dependency of ours, through a real gateway.

They come by their lock file into a virtual environment of their own (`.clients/`), because each of them brings dozens
of packages. Node's are tried with `--node`, where npm may fetch them.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

import httpx

from gateway_plugin.demo.stack import Stack, StackOptions
from tests.clients.sdks.conftest import MODEL, URL

SDKS = Path(__file__).parent / "sdks"
QUIET = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "ANONYMIZED_TELEMETRY": "False", "LANGSMITH_TRACING": "false"}
"""They would call home, otherwise."""
HOME = Path(__file__).parents[2] / ".clients"


def python_commands() -> list[list[str]]:
    """Installs what is not there."""
    python, lock, installed = HOME / "bin" / "python", SDKS / "requirements.lock", HOME / "installed.lock"
    if not installed.exists() or installed.read_bytes() != lock.read_bytes():
        venv.create(HOME, with_pip=True, clear=True)
        pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", "--require-hashes"]
        subprocess.run([*pip, "-r", str(lock)], check=True)
        shutil.copy(lock, installed)
    return [[str(python), "-m", "pytest", "-c", str(SDKS / "pytest.ini"), str(SDKS)]]


def node_commands() -> list[list[str]]:
    """Installs what is not there."""
    for name in ("package.json", "check_node.mjs"):
        shutil.copy(SDKS / name, HOME / name)
    subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund"], cwd=HOME, check=True)
    return [["node", str(HOME / "check_node.mjs")]]


async def tried(commands: list[list[str]]) -> bool:
    """Whether all of them end well, with a gateway in front of simulated engines."""
    with tempfile.TemporaryDirectory() as directory:
        options = StackOptions({"m": 3}, redis=False, speed=100)
        async with Stack(options, Path(directory)) as stack, httpx.AsyncClient() as http:
            user = {"name": "ann", "rpm": 100_000, "tpm": 100_000_000}
            (await http.post(f"{stack.api_url}/CreateUser", json=user)).raise_for_status()
            environment = {**os.environ, **QUIET, URL: stack.gateway_url, MODEL: "m"}
            processes = [await asyncio.create_subprocess_exec(*command, env=environment) for command in commands]
            return not any([await process.wait() for process in processes])


def main() -> int:
    """0 when all clients hold."""
    commands = python_commands()
    if "--node" in sys.argv[1:]:
        commands += node_commands()
    return 0 if asyncio.run(tried(commands)) else 1


if __name__ == "__main__":
    sys.exit(main())
