"""Ordinary bodies, for attacks that are about something else."""

from __future__ import annotations

import json
from typing import Any


def chat(**fields: Any) -> bytes:
    """A small chat request to the model that insiders may use."""
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 4}
    return json.dumps(body | fields).encode()


JSON = ("content-type", "application/json")
MODEL = ("model", "m")
