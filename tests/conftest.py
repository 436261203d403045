"""For all tests."""

from __future__ import annotations

import asyncio

# pytest-asyncio and looptime ask for "the current loop" before synchronous tests, too. On Python 3.11 that would create
# one that nobody closes, and its warning (an error here) would fail a later test.
asyncio.set_event_loop(None)
