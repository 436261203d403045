"""Gateways in one table."""

from __future__ import annotations

import pytest

from benchmarks.overhead.peers import PeerError
from benchmarks.peers.gateways import ALONE, Cpu, RunningGateway
from benchmarks.peers.page import cpu_cell, lines
from benchmarks.peers.rounds import STEADY, Figures


def test_a_cell_has_minimum_median_and_parts():
    rounds = [Cpu(100.0, 50.0, 0.0), Cpu(300.0, 60.0, 0.0), Cpu(110.0, 55.0, 0.0)]
    assert cpu_cell(rounds) == "150 / 165 (E110 B55)"
    assert cpu_cell([]) == "-"


def test_times_are_told_beyond_envoy_alone_and_failures_are_named():
    alone, other = Figures(pss_bytes=0), Figures(idle_ms=2.5, pss_bytes=3 * 2**20, failures={"503": 4})
    alone.ttfb_ms[STEADY] = [1.0] * 100
    other.ttfb_ms[STEADY] = [1.5] * 100
    text = list(lines({ALONE: alone, "other": other}))
    assert text[2].startswith("| Envoy alone | - | - | - | 1.00 / 1.00 |")
    assert text[3] == "| other | - | - | - | +0.50 / +0.50 | 2.5 | 3 | 503: 4 |"


def test_one_that_runs_already_is_named_by_its_port():
    assert RunningGateway("LiteLLM", "http://127.0.0.1:4000", []).port == 4000
    with pytest.raises(PeerError, match="must name a port"):
        RunningGateway("LiteLLM", "http://localhost", [])
