"""What is left to do when an exchange is over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from gateway_plugin.accounting.limiting import GiveBack

if TYPE_CHECKING:
    from gateway_plugin.exchange.replies import Forward
    from protos.access_log import FinishedExchange
    from ratelimit import Decision


class Ending(msgspec.Struct, frozen=True):
    """Of one exchange."""

    back: GiveBack | None = None
    finished: FinishedExchange | None = None
    """What became of it, where responses are followed."""


NOTHING_LEFT = Ending()


def give_back(forward: Forward, admission: Decision | None, *, reached_a_pod: bool) -> GiveBack | None:
    """What it still holds of somebody's limits: a parallel slot, and the reservation if no pod has seen the request."""
    if admission is None or forward.subject is None:
        return None
    slot = admission.limits is not None and admission.limits.max_parallel > 0
    if reached_a_pod and not slot:
        return None
    refund = not reached_a_pod
    return GiveBack(forward.subject, forward.charge_id, forward.model, slot, refund, forward.reserved_tokens)
