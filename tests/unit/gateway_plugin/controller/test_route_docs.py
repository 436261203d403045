"""Every finding that can be told is explained."""

from __future__ import annotations

import re
from pathlib import Path

_ROOT = Path(__file__).parents[4]
_RAISED = re.compile(r'Finding\(\s*[^,()]+(?:\([^()]*\))?[^,()]*,\s*"([A-Za-z]+)"')


def test_every_code_is_in_the_documentation():
    sources = [path.read_text() for path in (_ROOT / "gateway_plugin" / "controller").glob("*.py")]
    raised = {code for text in sources for code in _RAISED.findall(text)}
    explained = set(re.findall(r"`([A-Z][A-Za-z]+)`", (_ROOT / "docs" / "routes.md").read_text()))
    assert len(raised) > 20
    assert raised <= explained
