"""The paths that an operator adds to the table of endpoints: exact ones, and none by which engines are managed."""

from __future__ import annotations

import re

from gateway_plugin.endpoints.endpoint_table import EndpointTable

MAX_PATHS = 32
"""Each becomes a part of every route's expression."""
_MAX_CHARACTERS = 128
"""Of one path, for the same reason."""
# No dotted or empty parts, no escapes, no parameters: nothing that two readers could read as two paths.
_PATH = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+")
MANAGEMENT = frozenset(
    {
        *("/metrics", "/version", "/load", "/docs", "/redoc", "/openapi.json", "/server_info", "/get_server_info"),
        *(
            "/model_info",
            "/get_model_info",
            "/get_load",
            "/tokenizer_info",
            "/get_internal_state",
            "/set_internal_state",
        ),
        *("/load_lora_adapter", "/unload_lora_adapter", "/v1/load_lora_adapter", "/v1/unload_lora_adapter"),
        *("/load_lora_adapter_from_tensors", "/start_profile", "/stop_profile", "/configure_logging", "/freeze_gc"),
        *("/sleep", "/wake_up", "/is_sleeping", "/pause", "/resume", "/is_paused", "/slow_down", "/collective_rpc"),
        *("/pause_generation", "/continue_generation", "/abort_request", "/abort_requests", "/scale_elastic_ep"),
        *("/reset_prefix_cache", "/reset_mm_cache", "/reset_encoder_cache", "/flush_cache", "/update_weights"),
        *("/clear_hicache_storage_backend", "/release_memory_occupation", "/resume_memory_occupation"),
        *("/update_weights_from_disk", "/update_weights_from_tensor", "/update_weights_from_distributed"),
        *("/update_weights_from_ipc", "/update_weight_version", "/init_weights_update_group", "/get_weights_by_name"),
        *("/init_weight_transfer_engine", "/start_expert_distribution_record", "/stop_expert_distribution_record"),
        *("/dump_expert_distribution_record", "/set_trace_level", "/invalidate_cache", "/kill", "/shutdown"),
    }
)
"""What engines serve for those who run them: never published, whoever asks for it."""


def parse_extra_paths(text: str) -> tuple[str, ...]:
    """The paths in a setting, separated by commas; raises ValueError that says what is allowed."""
    paths = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if len(paths) > MAX_PATHS:
        raise ValueError(f"{len(paths)} paths; allowed: {MAX_PATHS}")
    for path in paths:
        _check(path)
    return paths


def _check(path: str) -> None:
    if len(path) > _MAX_CHARACTERS or not _PATH.fullmatch(path):
        form = f"/part/part, at most {_MAX_CHARACTERS} letters, digits and ._~-"
        raise ValueError(f"{path[:_MAX_CHARACTERS]!r} is no exact path; allowed: {form}, no part begins with a dot")
    if path in MANAGEMENT:
        raise ValueError(f"{path!r} manages engines, and is never published")
    if EndpointTable().find(path) is not None:
        raise ValueError(f"{path!r} is an endpoint already")
