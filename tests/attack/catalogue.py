"""All attacks, by the identity that the gateway is set to and by kind."""

from __future__ import annotations

from fnmatch import fnmatchcase

from tests.attack.attacks import Attack
from tests.attack.kinds import (
    crowds,
    documents,
    fuzzed,
    headers,
    identity,
    methods,
    operators,
    outages,
    paths,
    responses,
    smuggling,
    store,
    tokens,
)
from tests.attack.runner import Score

BY_IDENTITY: dict[str, dict[str, tuple[Attack, ...]]] = {
    "keys": {
        paths.KIND: paths.ATTACKS,
        headers.KIND: headers.ATTACKS,
        smuggling.KIND: smuggling.ATTACKS,
        methods.KIND: methods.ATTACKS,
        documents.KIND: documents.ATTACKS,
        tokens.KIND: tokens.ATTACKS,
        identity.KIND: identity.ATTACKS,
        operators.KIND: operators.ATTACKS,
        responses.KIND: responses.ATTACKS,
        fuzzed.KIND: fuzzed.ATTACKS,
        store.KIND: store.ATTACKS,
        crowds.KIND: crowds.ATTACKS,
        outages.KIND: outages.ATTACKS,
    },
    "header": {identity.TRUSTED_KIND: identity.TRUSTED_ATTACKS},
}

LONG = (outages.KIND,)
"""Kinds for `make attack` alone."""
KNOWN_OPEN: dict[tuple[str, str], str] = {}
"""(configuration of Envoy or "*", pattern of attacks that still get through) -> who mends it. To be empty."""


def _expected(flavour: str) -> list[str]:
    return [pattern for where, pattern in KNOWN_OPEN if where in ("*", flavour)]


def unexpected(flavour: str, score: Score) -> dict[str, list[str]]:
    """What came through and is not known to."""
    patterns = _expected(flavour)
    return {
        name: findings
        for name, findings in score.through.items()
        if not any(fnmatchcase(name, pattern) for pattern in patterns)
    }


def mended(flavour: str, kinds: list[str], score: Score) -> list[str]:
    """What is listed as known and does not come through any more: to be struck from the list."""
    return [
        pattern
        for pattern in _expected(flavour)
        if pattern.partition(":")[0] in kinds and not any(fnmatchcase(name, pattern) for name in score.through)
    ]
