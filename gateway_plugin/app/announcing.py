"""What the process says of itself when it starts to serve."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from gateway_plugin.grpc.listeners import address
from gateway_plugin.http.admin import is_beyond_loopback
from gateway_plugin.settings.identity_settings import API_KEY, HEADER

if TYPE_CHECKING:
    from gateway_plugin.settings.settings import Settings

logger = logging.getLogger(__name__)


def announce(settings: Settings) -> None:
    """Where it serves, and whom it believes."""
    logger.info(
        "serving ext_proc on %s, operations on :%d, users and models on :%d; limits in %s; default strategy %s",
        address(settings.listeners.bind_host, settings.listeners.grpc_port),
        settings.listeners.ops_port,
        settings.listeners.api_port,
        "redis" if settings.redis.effective_url else "this process's memory",
        settings.routing.default_strategy or "none (Envoy balances)",
    )
    logger.info(
        "who asks is proven by: %s; requests in nobody's name: %s",
        ", ".join(sorted(settings.identity.proofs)),
        "401" if settings.identity.proofs == {API_KEY} else settings.identity.anonymous,
    )
    if HEADER in settings.identity.proofs:
        logger.warning(
            "a `user` header is believed, as in AIBrix: only for networks where all who reach Envoy are trusted;"
            " elsewhere set GATEWAY_IDENTITY_PROOFS=api-key"
        )
    if is_beyond_loopback(settings.listeners.bind_host) and not settings.identity.admin_token.get_secret_value():
        logger.warning(
            "users, registry and webhooks on :%d are open to everybody; set GATEWAY_ADMIN_TOKEN",
            settings.listeners.api_port,
        )
