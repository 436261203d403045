"""`session-affinity`: requests of one session go to one pod, on every replica, without anybody remembering it.

    cost = -draw(pod, session), rendezvous hashing (see `routing.prefix.rendezvous`); 0 everywhere without a session

A session is any text in `x-session-id` or `x-aibrix-session-key`. The gateway answers with a token of the chosen pod in
`x-session-id`; whoever sends it back gets that pod while it lives, and another fixed one when it is gone. A token that
AIBrix gave (base64 of `ip:port`) pins its pod as well. Ignores load.
"""

from __future__ import annotations

from base64 import b64decode
from typing import TYPE_CHECKING

import numpy as np
from xxhash import xxh64_intdigest

from routing.prefix.rendezvous import draws, draws_of_few
from routing.strategies.policy import Policy

if TYPE_CHECKING:
    from routing.candidates import Candidates
    from routing.pods.columns import FloatColumn
    from routing.pods.pod_view import PodView
    from routing.strategies.policy import RoutingRequest

_PIN = -2.0
_MAX_FOREIGN_CHARACTERS = 72  # of the longest IPv6 address with a port


def token_of(address: str) -> str:
    """The token that stands for a pod: it tells the pod apart, and does not tell its address."""
    return f"{xxh64_intdigest(address.encode()):016x}"


class SessionAffinity(Policy):
    """The session's own pod first."""

    name = "session-affinity"
    scale = 0.1
    term_names = ("draw", "pin")

    def terms(self, pods: Candidates, request: RoutingRequest) -> list[tuple[float, ...]]:
        """The draw, and the pin of a pod that the session names by its token."""
        if not request.session:
            return [(0.0, 0.0)] * len(pods)
        token, addresses = _token_value(request.session), pods.address_hash
        return [
            (-draw, _PIN if address == token else 0.0)
            for address, draw in zip(addresses, draws_of_few(addresses, _key(request.session)), strict=True)
        ]

    def scan(self, pods: PodView, request: RoutingRequest) -> FloatColumn:
        """By the draw; the named pod first."""
        if not request.session:
            return pods.nothing
        addresses = pods.address_hash
        return np.where(addresses == _token_value(request.session), _PIN, -draws(addresses, _key(request.session)))


def _key(session: str) -> int:
    return xxh64_intdigest(session.encode())


def _token_value(session: str) -> int:
    try:
        return int(session, 16) if len(session) == 16 else _foreign_value(session)
    except ValueError:
        return _foreign_value(session)


def _foreign_value(session: str) -> int:
    """Of AIBrix's token the value that ours would have; 0 for anything else."""
    if not 12 <= len(session) <= _MAX_FOREIGN_CHARACTERS:
        return 0
    try:
        address = b64decode(session, validate=True)
    except ValueError:
        return 0
    return xxh64_intdigest(address) if b":" in address else 0
