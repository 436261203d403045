"""What clients may reach, written down a second time: the suite does not ask the code under attack.

Engine management, metrics and whatever else an engine listens to is not in it, and so must never be reached.
"""

from __future__ import annotations

import re

_POST = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/responses",
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/v1/chat/completions/render",
    "/v1/completions/render",
    "/v1/rerank",
    "/v2/rerank",
    "/rerank",
    "/v1/score",
    "/score",
    "/v1/classify",
    "/classify",
    "/v1/pooling",
    "/pooling",
    "/v1/tokenize",
    "/tokenize",
    "/v1/detokenize",
    "/detokenize",
    "/v1/audio/transcriptions",
    "/v1/audio/translations",
    "/v1/audio/speech",
    "/v1/images/generations",
    "/v1/images/edits",
    "/v1/video/generations",
)
_ONE_SEGMENT = r"[A-Za-z0-9._~-]{1,512}"
_PUBLISHED = re.compile(
    "|".join(
        [
            *(f"POST {re.escape(path)}" for path in _POST),
            f"(GET|HEAD) /v1/responses/{_ONE_SEGMENT}",
            f"DELETE /v1/responses/{_ONE_SEGMENT}",
            f"POST /v1/responses/{_ONE_SEGMENT}/cancel",
        ]
    )
)

SPOOFED = "spoofed-by-the-client"
"""The value of forged headers: must reach no pod under a name that only the gateway may set."""
GATEWAY_ONLY = ("target-pod", "target-pod-ip", "request-id", "x-went-into-req-headers", "x-envoy-")
CREDENTIALS = ("authorization", "x-api-key", "api-key")
"""Must not show an engine the gateway's own keys."""


def is_published(method: str, target: str) -> bool:
    """Whether a pod may see this request."""
    return _PUBLISHED.fullmatch(f"{method} {target.partition('?')[0]}") is not None
