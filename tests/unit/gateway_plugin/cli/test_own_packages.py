"""Another project's package of the same name is noticed before it breaks something."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from gateway_plugin.cli.own_packages import complaint, foreign_packages
from tests.house.plan import ROOT


def test_here_all_packages_are_ours():
    assert foreign_packages() == []


def test_one_that_is_found_before_ours_is_named_in_one_line(tmp_path: Path):
    package = tmp_path / "ratelimit"
    package.mkdir()
    (package / "__init__.py").write_text("def limits(): ...\n")
    code = "import sys; sys.path[:0] = sys.argv[1:]; from gateway_plugin.cli.application import main; main()"
    ran = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), str(ROOT)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert ran.returncode == 1
    assert ran.stderr.splitlines() == [f"gateway-plugin: {complaint(['ratelimit'])}"]
