"""`session-affinity`: requests of one session go to one pod, on every replica, without anybody remembering it.

    cost = -draw(pod, session), rendezvous hashing (see `routing.rendezvous`); 0 everywhere without a session

A session is any text in `x-session-id` or `x-aibrix-session-key`. The gateway answers with a token of the chosen pod in
`x-session-id`; whoever sends it back gets that pod while it lives, and another fixed one when it is gone. Ignores load.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from xxhash import xxh64_intdigest

from routing.policy import Policy
from routing.rendezvous import draws, draws_of_few

if TYPE_CHECKING:
    from routing.columns import FloatColumn
    from routing.few_pods import FewPods
    from routing.policy import RoutingRequest
    from routing.view import PodView

_PIN = -2.0


def token_of(address: str) -> str:
    """The token that stands for a pod: it tells the pod apart, and does not tell its address."""
    return f"{xxh64_intdigest(address.encode()):016x}"


class SessionAffinity(Policy):
    """The session's own pod first."""

    name = "session-affinity"
    scale = 0.1

    def terms(self, pods: PodView, request: RoutingRequest) -> dict[str, FloatColumn]:
        """The draw, and the pin of a pod that the session names by its token."""
        if not request.session:
            return {"draw": pods.nothing, "pin": pods.nothing}
        pinned = pods.address_hash == _token_value(request.session)
        return {
            "draw": -draws(pods.address_hash, xxh64_intdigest(request.session.encode())),
            "pin": np.where(pinned, _PIN, 0.0),
        }

    def few_costs(self, pods: FewPods, request: RoutingRequest) -> list[float]:
        """As `terms`."""
        if not request.session:
            return pods.nothing
        token, key = _token_value(request.session), xxh64_intdigest(request.session.encode())
        addresses = pods.address_hash
        return [
            (_PIN if address == token else 0.0) - draw
            for address, draw in zip(addresses, draws_of_few(addresses, key), strict=True)
        ]


def _token_value(session: str) -> int:
    try:
        return int(session, 16) if len(session) == 16 else 0
    except ValueError:
        return 0
