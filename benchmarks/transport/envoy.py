"""An Envoy with ext_proc before an answer of its own."""

from __future__ import annotations

from typing import Any


def envoy_config(gateway: int, plugin: int, admin: int) -> dict[str, Any]:
    """ext_proc before an answer of Envoy's own."""
    types = "type.googleapis.com/envoy.extensions"
    mode = {
        "request_header_mode": "SEND",
        "request_body_mode": "BUFFERED",
        "response_header_mode": "SKIP",
        "response_trailer_mode": "SEND",
    }
    ext_proc_filter = {
        "@type": f"{types}.filters.http.ext_proc.v3.ExternalProcessor",
        "grpc_service": {"envoy_grpc": {"cluster_name": "plugin"}},
        "message_timeout": "5s",
        "processing_mode": mode,
    }
    manager = {
        "@type": f"{types}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "gateway",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "direct_response": {"status": 200}}],
                }
            ]
        },
        "http_filters": [
            {"name": "envoy.filters.http.ext_proc", "typed_config": ext_proc_filter},
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{types}.filters.http.router.v3.Router"},
            },
        ],
    }
    http2 = {
        "@type": f"{types}.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
    cluster = {
        "name": "plugin",
        "connect_timeout": "1s",
        "type": "STATIC",
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2},
        "load_assignment": {
            "cluster_name": "plugin",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(plugin)}}]}],
        },
    }
    manager_filter = {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
    listener = {"name": "gateway", "address": address(gateway), "filter_chains": [{"filters": [manager_filter]}]}
    return {
        "admin": {"address": address(admin)},
        "static_resources": {"listeners": [listener], "clusters": [cluster]},
    }


def address(port: int) -> dict[str, Any]:
    """On loopback."""
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
