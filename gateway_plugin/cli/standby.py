"""`gateway-plugin serve --standby`: everything is loaded, and waits on standard input to be told for whom to serve."""

from __future__ import annotations

import json
import os
import sys


def wait_for_orders() -> None:
    """Takes over environment and log of a worker that has died; ends this process when nobody will ever say."""
    from gateway_plugin.app import process  # noqa: F401, PLC0415 - this is what takes its time

    line = sys.stdin.readline()
    if not line:
        raise SystemExit(0)
    orders = json.loads(line)
    os.environ.update(orders["environment"])
    log = os.open(orders["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
