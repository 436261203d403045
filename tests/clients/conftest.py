"""The fixtures of the whole chain, for what clients see of it."""

from tests.integration.chain.conftest import flavour, open_gateway

__all__ = ["flavour", "open_gateway"]
