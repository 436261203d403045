"""What a person should look at: one sentence of what is wrong, one of what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway_plugin.controller.workloads import Ref


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """`code` is stable and CamelCase, as the reason of a Kubernetes Event."""

    about: Ref
    code: str
    message: str
    fix: str

    def __str__(self) -> str:
        return f"{self.about}: {self.message}; {self.fix}"


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Each once, sorted."""
    return tuple(sorted(set(findings)))
