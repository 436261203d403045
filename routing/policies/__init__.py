"""The strategies, one file each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from routing.policies.least_request import LeastRequest
from routing.policies.random import Random

if TYPE_CHECKING:
    from routing.policy import Policy


def all_policies() -> dict[str, Policy]:
    """A fresh instance of every strategy, by its name on the wire."""
    policies: list[Policy] = [Random(), LeastRequest()]
    return {policy.name: policy for policy in policies}
