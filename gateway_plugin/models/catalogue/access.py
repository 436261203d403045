"""Who sees which models.

A user's allow list names models, or labels as `label:key=value` (any pod of the model has it); an empty list allows
all. An alias is seen by those who may use it or the model behind it. Hidden models are seen by operators only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway_plugin.models.catalogue.facts import ModelFacts

LABEL_PREFIX = "label:"
# A model with more labels is allowed by its first ones, in order of key; the limiter carries them with each request.
MAX_GRANTS = 64


@dataclass(frozen=True, slots=True)
class Viewer:
    """Hashable: what is rendered for one of them holds for all that are equal."""

    is_operator: bool = False
    allowed: frozenset[str] = frozenset()
    """Empty: all."""
    user: str = field(default="", compare=False)
    """Whose eyes these are, where that is known; what is seen does not depend on it."""

    def sees(self, facts: ModelFacts) -> bool:
        """Whether the model is there, for this viewer."""
        if self.is_operator:
            return True
        if facts.hidden:
            return False
        return not self.allowed or not self.allowed.isdisjoint((facts.id, facts.alias_of or "", *grants(facts)))


OPERATOR = Viewer(is_operator=True)
EVERYBODY = Viewer()


def grants(facts: ModelFacts) -> tuple[str, ...]:
    """The entries of allow lists that admit a model by its labels."""
    return tuple(_grants(facts))[:MAX_GRANTS]


def _grants(facts: ModelFacts) -> Iterator[str]:
    for key, values in facts.labels.items():
        for value in values:
            yield f"{LABEL_PREFIX}{key}={value}"
