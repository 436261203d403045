"""Paths that are not in the table, and tricks that make one path look like another."""

from __future__ import annotations

from tests.attack.arena import Account
from tests.attack.attacks import Attack, over_http1, over_http2
from tests.attack.http1 import request
from tests.attack.http2 import Writer, usual
from tests.attack.kinds.bodies import JSON, MODEL, chat

KIND = "paths"

_ENGINE_MANAGEMENT = (
    "/metrics",
    "/load",
    "/ping",
    "/version",
    "/server_info",
    "/get_server_info",
    "/get_model_info",
    "/tokenizer_info",
    "/v1/load_lora_adapter",
    "/v1/unload_lora_adapter",
    "/load_lora_adapter",
    "/sleep",
    "/wake_up",
    "/is_sleeping",
    "/start_profile",
    "/stop_profile",
    "/reset_prefix_cache",
    "/reset_mm_cache",
    "/flush_cache",
    "/collective_rpc",
    "/scale_elastic_ep",
    "/update_weights_from_disk",
    "/update_weights_from_tensor",
    "/init_weights_update_group",
    "/release_memory_occupation",
    "/abort_request",
    "/shutdown",
    "/docs",
    "/openapi.json",
    "/debug/faults",
    "/invocations",
    "/inference/v1/generate",
    "/generate",
    "/generate_stream",
    "/generatevideo",
    "/generate/x",
    "/encode",
    "/v1/realtime",
    "/v1/files",
    "/v1/batches",
    "/v1/fine_tuning/jobs",
    "/stats",
    "/config_dump",
    "/quitquitquit",
)
_UNKNOWN_BELOW_KNOWN = (
    "/v1/chat/completions/batch",
    "/v1/chat/completions/x",
    "/v1/completions/x",
    "/v1/embeddings/../load_lora_adapter",
    "/v1/messages/batches",
    "/v1/responses/id/input_items",
    "/v1/responses/id/cancel/x",
    "/v1/chat",
    "/v1",
    "/v1/",
    "/",
    "/v2/chat/completions",
    "/v1/audio",
    "/v1/models/../load_lora_adapter",
    "/v1/models/x/../../load_lora_adapter",
)
_TRICKS = (
    "/v1/chat%2fcompletions",
    "/v1/chat%2Fcompletions",
    "/v1%2fload_lora_adapter",
    "/v1/chat%5ccompletions",
    "/v1/chat\\completions",
    "/v1/chat%252fcompletions",
    "/v1/chat/%2e/completions",
    "/v1/chat/completions/%2e%2e/%2e%2e/load_lora_adapter",
    "/v1/chat/completions/..%2f..%2fload_lora_adapter",
    "/v1/chat/completions/..%5c..%5cload_lora_adapter",
    "/v1/chat/completions/..;/load_lora_adapter",
    "/v1/chat/completions;/../load_lora_adapter",
    "/v1/chat/completions;jsessionid=1",
    "/v1/chat/completions%3fx",
    "/v1/chat/completions%23",
    "/v1/chat/completions#fragment",
    "/v1/chat/completions?/../load_lora_adapter",
    "/v1/chat/completions/?x=1",
    "/v1/chat/completions%00",
    "/v1/chat/completions%20",
    "/v1/chat/completions%0d%0ax:%20y",
    "//v1/chat/completions",
    "/v1//chat///completions",
    "//metrics",
    "/v1/./chat/completions",
    "/v1/x/../chat/completions",
    "/../v1/load_lora_adapter",
    "/V1/Chat/Completions",
    "/v1/chat/completion%73",
    "/%76%31/chat/completions",
    "/v1/load%5flora%5fadapter",
    "/%6detrics",
    "/v1/chat/completions/",
    "/v1/chat/completions//",
    "/v1/chat/%c0%ae%c0%ae/load_lora_adapter",
    "/v1/chat/completions%e2%80%ae",
    "/v1/responses/..%2f..%2fmetrics",
    "/v1/responses/%2e%2e/%2e%2e/metrics",
    "/v1/responses/%2e%2e%2fload_lora_adapter",
    "/v1/responses/a%2fb",
    "/v1/responses//cancel",
    "http://gateway/v1/load_lora_adapter",
    "http://gateway/metrics",
    "http://127.0.0.1:9/v1/chat/completions",
    "https://gateway/v1/chat/completions",
    "gopher://gateway/v1/chat/completions",
    "*",
    "v1/chat/completions",
    "gateway:80",
    "/v1/chat/completions/" + "a" * 8000,
    "/v1/responses/" + "a" * 8000,
    "/" + "a" * 200_000,
    "/" + "../" * 5000 + "metrics",
    "/v1/" + "x/../" * 5000 + "load_lora_adapter",
)
_PATHS = (*_ENGINE_MANAGEMENT, *_UNKNOWN_BELOW_KNOWN, *_TRICKS)


def _shown(path: str) -> str:
    return path if len(path) < 70 else f"{path[:50]}...({len(path)})"


def _over_1(path: str, method: str, insider: bool) -> Attack:
    def pieces(account: Account) -> list[bytes]:
        proof = account.bearer if insider else ("user", account.name)
        return [request(method, path, [JSON, MODEL, proof], chat() if method == "POST" else b"")]

    return over_http1(KIND, f"{method} {_shown(path)}", pieces, insider=insider)


def _over_2(path: str, insider: bool) -> Attack:
    def script(writer: Writer, account: Account) -> list[bytes]:
        proof = account.bearer if insider else ("user", account.name)
        return [writer.headers(1, usual("POST", path, JSON, MODEL, proof)), writer.data(1, chat())]

    return over_http2(KIND, f"h2 POST {_shown(path)}", script, insider=insider)


ATTACKS = (
    *(_over_1(path, "POST", insider) for path in _PATHS for insider in (False, True)),
    *(_over_1(path, "GET", insider=True) for path in (*_ENGINE_MANAGEMENT, *_UNKNOWN_BELOW_KNOWN)),
    *(_over_1(path, "GET", insider=False) for path in _ENGINE_MANAGEMENT),
    *(_over_2(path, insider=True) for path in _TRICKS if len(path) < 9000),
)
