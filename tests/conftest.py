"""For all tests."""

from __future__ import annotations

import asyncio
import os

from hypothesis import settings

from gateway_plugin.tools.chain.ports import begin_at

# Where a change is judged, the same change must get the same verdict; everywhere else new examples are looked for.
# No deadlines: how long an example takes says more of the machine's other work than of the code.
settings.register_profile("everywhere", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
# `make fuzz`: what strangers send, for as long as somebody likes.
settings.register_profile("fuzz", deadline=None, max_examples=int(os.environ.get("FUZZ_EXAMPLES", "4000")))
settings.load_profile("ci" if os.environ.get("CI") else "everywhere")

# Tests that run beside each other take ports from parts of their own, for hundreds of tests are bound to meet.
if worker := os.environ.get("PYTEST_XDIST_WORKER"):
    begin_at(int(worker.removeprefix("gw")) / int(os.environ["PYTEST_XDIST_WORKER_COUNT"]))

# pytest-asyncio and looptime ask for "the current loop" before synchronous tests, too. On Python 3.11 that would create
# one that nobody closes, and its warning (an error here) would fail a later test.
asyncio.set_event_loop(None)

# Every plugin process that a test starts runs on this transport, where the test does not say.
if transport := os.environ.get("GATEWAY_TEST_TRANSPORT"):
    os.environ["GATEWAY_TRANSPORT"] = transport
