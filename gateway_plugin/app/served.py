"""What the process serves, and on which port."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from gateway_plugin.app.parts import tls_of
from gateway_plugin.grpc.http2 import bounds as wire_bounds
from gateway_plugin.grpc.listeners import GrpcListener, HttpListener, grpc_listener
from gateway_plugin.http.admin import is_public_to_operators
from gateway_plugin.http.announced import AnnouncedStore
from gateway_plugin.http.debug import debug_router
from gateway_plugin.http.error_responses import new_app
from gateway_plugin.http.explain import explain_router
from gateway_plugin.http.groups_rest import groups_router
from gateway_plugin.http.live_feed import live_router
from gateway_plugin.http.live_page import add_live_page
from gateway_plugin.http.load_report import load_router
from gateway_plugin.http.ops import ops_router
from gateway_plugin.http.readable import ReadableByPages
from gateway_plugin.http.usage_rest import usage_router
from gateway_plugin.http.users_aibrix import users_router
from gateway_plugin.http.users_rest import users_rest_router
from gateway_plugin.settings.prices import parse_prices
from gateway_plugin.settings.shown_settings import shown_settings
from ratelimit import RedisStore
from ratelimit.windows.periods import zone_of

if TYPE_CHECKING:
    from fastapi import FastAPI

    from gateway_plugin.app.assembly import Assembly


def listen(parts: Assembly) -> tuple[GrpcListener, list[HttpListener]]:
    """Every port, closed still: gRPC first, then HTTP."""
    listeners = parts.settings.listeners
    host = listeners.bind_host
    methods = {**parts.processor.methods(), **parts.health.methods()}
    if parts.settings.usage.accounting == "access_log":
        methods |= parts.access_log.methods()
    bounds = wire_bounds.Bounds(
        max_message_bytes=listeners.grpc_max_message_bytes, memory_bytes=listeners.request_memory_bytes
    )
    grpc = grpc_listener(listeners.transport, host, listeners.grpc_port, methods, bounds, tls_of(parts.settings.tls))
    http_listeners = [
        HttpListener(_operators_api(parts), host, listeners.ops_port, "ops_port"),
        HttpListener(_public_api(parts), host, listeners.api_port, "api_port"),
    ]
    return grpc, http_listeners


def _operators_api(parts: Assembly) -> FastAPI:
    api = new_app(
        "gateway-plugin operations",
        "Metrics, health and the state of routing.",
        # /debug/route takes whole requests.
        max_body_bytes=parts.settings.listeners.grpc_max_message_bytes,
        admin_token=parts.settings.identity.admin_token.get_secret_value(),
        is_public=is_public_to_operators,
    )
    api.include_router(
        ops_router(
            parts.pods,
            parts.limiter.health,
            parts.metrics,
            lambda: parts.draining,
            lambda: parts.discovery.problem,
            parts.refused_configuration,
        )
    )
    api.include_router(load_router(parts.metrics, parts.processor.waiting_lengths, parts.pods))
    for router in parts.models.operators_routers():
        api.include_router(router)
    api.include_router(explain_router(parts.router, parts.rules, parts.models.live.names))
    shown = shown_settings(parts.settings, parts.origins)
    if parts.settings.operators.live_feed:
        api.include_router(live_router(parts.live))
        add_live_page(api, parts.settings.operators.playground_gateway, parts.router.strategies())
    api.include_router(debug_router(parts.stories, parts.pods, parts.router.prefixes, lambda: shown))
    return api


def _public_api(parts: Assembly) -> FastAPI:
    settings, store = parts.settings, parts.limiter.store
    token = settings.identity.admin_token.get_secret_value()
    api = new_app("gateway-plugin", "Users and models.", admin_token=token)
    if parts.rules.web_pages is not None:
        api.add_middleware(ReadableByPages, pages=parts.rules.web_pages)
    for router in parts.models.public_routers(parts.rules, parts.limiter):
        api.include_router(router)
    # Other replicas, and this one, remember something of users: changes are announced where there is a Redis.
    users = AnnouncedStore(store, store, store) if isinstance(store, RedisStore) else store
    api.include_router(users_router(users, token))
    api.include_router(users_rest_router(users, parts.limiter.limits, users, token))
    api.include_router(groups_router(store, token))
    ledger = parts.limiter.ledger if settings.usage.ledger else None
    zone = zone_of(settings.users.quota_time_zone)
    api.include_router(usage_router(ledger, zone, time.time, parse_prices(settings.usage.prices), token))
    return api
