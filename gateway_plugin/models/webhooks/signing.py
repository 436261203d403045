"""Signatures as Standard Webhooks has them, so that receivers can use any library that checks those.

    webhook-signature = "v1," + base64(HMAC-SHA256(key, "<webhook-id>.<webhook-timestamp>.<body>"))

The id is the event's and stays the same over retries, by which receivers know a repetition; the timestamp is that of
the attempt, so that an old one cannot be replayed.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

from gateway_plugin.models.webhooks.records import secret_key


def signed_headers(secret: str, event_id: str, at_seconds: float, body: bytes) -> dict[str, str]:
    """The headers that let the receiver check who sent the body."""
    timestamp = str(int(at_seconds))
    content = b".".join((event_id.encode(), timestamp.encode(), body))
    digest = hmac.new(secret_key(secret), content, hashlib.sha256).digest()
    return {
        "webhook-id": event_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }
