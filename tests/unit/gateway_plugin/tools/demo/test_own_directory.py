"""Demos that run side by side in one clone keep out of each other's way."""

from __future__ import annotations

from pathlib import Path

from gateway_plugin.tools.demo.demo_run import own_directory


def test_each_running_demo_has_a_directory_of_its_own(tmp_path: Path):
    base = tmp_path / ".demo"
    with own_directory(base) as first:
        with own_directory(base) as second:
            assert first == base
            assert second == tmp_path / ".demo-2"
        with own_directory(base) as third:
            assert third == second, "what is over is used again"
    with own_directory(base) as again:
        assert again == base
