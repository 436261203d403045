"""The tests of one configuration of Envoy; `test_attack_*.py` say which."""

from __future__ import annotations

import pytest

from tests.attack.catalogue import BY_IDENTITY, LONG, mended, unexpected
from tests.attack.conftest import OpenArenas
from tests.attack.runner import attempt_kind

CASES = [
    pytest.param(identity, kind, id=f"{identity}-{kind.replace(' ', '-')}")
    for identity, kinds in BY_IDENTITY.items()
    for kind in kinds
    if kind not in LONG
]


async def nothing_comes_through(arenas: OpenArenas, flavour: str, identity: str, kind: str) -> None:
    """All attacks of a kind; what is known to get through must get through, or be struck from the list."""
    arena = await arenas(flavour, identity)
    score = await attempt_kind(arena, kind, BY_IDENTITY[identity][kind])
    new = [f"{name}: {'; '.join(findings)}" for name, findings in unexpected(flavour, score).items()]
    if new:
        pytest.fail("came through:\n" + "\n".join(new), pytrace=False)
    assert mended(flavour, [kind], score) == [], "strike these from KNOWN_OPEN"
