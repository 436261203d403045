"""For all tests."""

from __future__ import annotations

import asyncio
import os

from hypothesis import settings

# Where a change is judged, the same change must get the same verdict; everywhere else new examples are looked for.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")

# pytest-asyncio and looptime ask for "the current loop" before synchronous tests, too. On Python 3.11 that would create
# one that nobody closes, and its warning (an error here) would fail a later test.
asyncio.set_event_loop(None)
