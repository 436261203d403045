"""A Valkey server that can be frozen, killed and started again on its port; it keeps its data in a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway_plugin.tools.chain.valkey import Valkey

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def valkey(tmp_path) -> Iterator[Valkey]:
    with Valkey(tmp_path, keeps=True, options=["--appendfsync", "always"]) as server:
        yield server
