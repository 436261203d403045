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

from gateway_plugin.tools.chain.stack import Stack, StackOptions
from tests.clients.sdks.conftest import API_URL, ENGINE_URL, KEY, MODEL, URL

SDKS = Path(__file__).parent / "sdks"
QUIET = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "ANONYMIZED_TELEMETRY": "False", "LANGSMITH_TRACING": "false"}
"""They would call home, otherwise."""
HOME = Path(__file__).parents[2] / ".clients"
OPENAI = ("check_openai.py", "check_azure.py")
ENVIRONMENTS = {
    "newest": ("check_anthropic.py", "check_langchain_openai.py", "check_litellm.py", *OPENAI),
    "openai2": OPENAI,
    "openai1": OPENAI,
}
"""A lock file, and what is tried with what it brings."""


def python_command(environment: str) -> list[str]:
    """Installs what is not there."""
    home, lock = HOME / environment, SDKS / f"{environment}.lock"
    python, installed = home / "bin" / "python", home / "installed.lock"
    if not installed.exists() or installed.read_bytes() != lock.read_bytes():
        venv.create(home, with_pip=True, clear=True)
        pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", "--require-hashes"]
        subprocess.run([*pip, "-r", str(lock)], check=True)
        shutil.copy(lock, installed)
    checks = [str(SDKS / name) for name in ENVIRONMENTS[environment]]
    return [str(python), "-m", "pytest", "-c", str(SDKS / "pytest.ini"), "--rootdir", str(SDKS), *checks]


def node_command() -> list[str]:
    """Installs what is not there."""
    home = HOME / "node"
    home.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "check_node.mjs"):
        shutil.copy(SDKS / name, home / name)
    subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund"], cwd=home, check=True)
    return ["node", str(home / "check_node.mjs")]


async def tried(commands: list[list[str]], *, takes_keys: bool) -> bool:
    """Whether all of them end well, with a gateway in front of simulated engines."""
    with tempfile.TemporaryDirectory() as directory:
        more = {"GATEWAY_API_KEYS": "true"} if takes_keys else {}
        options = StackOptions({"m": 3}, redis=False, speed=100, plugin_environment=more)
        async with Stack(options, Path(directory)) as stack, httpx.AsyncClient() as http:
            environment = {**os.environ, **QUIET, **await _described(stack, http, takes_keys=takes_keys)}
            sys.stdout.write(f"clients, API keys {'on' if takes_keys else 'off'}\n")
            sys.stdout.flush()
            codes = []
            for command in commands:
                process = await asyncio.create_subprocess_exec(*command, env=environment)
                codes.append(await process.wait())
            return not any(codes)


async def _described(stack: Stack, http: httpx.AsyncClient, *, takes_keys: bool) -> dict[str, str]:
    """What the checks must know."""
    for name in ("ann", "keyed"):
        user = {"name": name, "rpm": 100_000, "tpm": 100_000_000}
        (await http.post(f"{stack.api_url}/CreateUser", json=user)).raise_for_status()
    key = ""
    if takes_keys:
        answer = await http.post(f"{stack.api_url}/v1/users/keyed/keys", json={"label": "clients"})
        key = answer.raise_for_status().json()["secret"]
    engine = f"http://127.0.0.1:{stack.ports.pods['m'][0]}"
    return {URL: stack.gateway_url, API_URL: stack.api_url, ENGINE_URL: engine, MODEL: "m", KEY: key}


def main() -> int:
    """0 when all clients hold."""
    commands = [python_command(environment) for environment in ENVIRONMENTS]
    if "--node" in sys.argv[1:]:
        commands.append(node_command())
    held = [asyncio.run(tried(commands, takes_keys=takes_keys)) for takes_keys in (False, True)]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
