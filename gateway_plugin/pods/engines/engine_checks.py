"""What an engine says of itself, held against what was configured: each contradiction with its mend.

Pure: `ask_engine` of `engine_doctor` and the poller bring the answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gateway_plugin.pods.engines.fetch import FetchOutcome
from gateway_plugin.settings.nearest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from gateway_plugin.pods.engines.fetch import ScrapeError
    from gateway_plugin.pods.engines.known_models import ModelCard
    from routing.spec import PodSpec

LENIENT_ENGINES = frozenset({"llamacpp", "llama.cpp", "llama-cpp", "tgi", "text-generation-inference"})
"""They serve their one model whatever a request calls it."""
_MAX_NAMES = 5
"""In one finding."""
_MARKS = (
    (b"vllm:", "vllm"),
    (b"sglang:", "sglang"),
    (b"trtllm_", "trtllm"),
    (b"nv_trt_llm", "triton"),
    (b"tgi_", "tgi"),
    (b"llamacpp:", "llamacpp"),
    (b"lmdeploy:", "lmdeploy"),
    (b"dynamo_", "dynamo"),
)
"""How the names on each engine's metrics page begin."""
_SAME_PAGE = frozenset({("triton", "trtllm"), ("trtllm", "triton"), ("dynamo", "vllm"), ("dynamo", "sglang")})
_TLS_HANDSHAKE = ("connection was closed", "connection reset", "not http", "https port")


class EngineFinding(NamedTuple):
    """`code` is stable and CamelCase; `about` is the pod's name."""

    code: str
    about: str
    message: str
    fix: str

    def __str__(self) -> str:
        return f"pod {self.about}: {self.message}; {self.fix}"


def served_names(pod: PodSpec, cards: Collection[ModelCard], adapters: Collection[str] = ()) -> EngineFinding | None:
    """The models that the engine lists; one that lists nothing says nothing, and adapters may come later."""
    if not cards or pod.engine.lower() in LENIENT_ENGINES:
        return None
    listed = {card.id for card in cards}
    missing = [model for model in pod.models if model not in listed and model not in adapters]
    if not missing:
        return None
    return EngineFinding(
        "NotServed",
        pod.name,
        f"it does not serve {_quoted(missing)}; the engine at {pod.address} lists {_quoted(sorted(listed))}",
        f"write the name as the engine has it, or start the engine with it (--served-model-name)"
        f"{did_you_mean(missing[0], listed)}",
    )


def no_answer(pod: PodSpec, path: str, error: ScrapeError, *, had_key: bool, speaks_tls: bool = False) -> EngineFinding:
    """Why an engine did not answer as one."""
    said = f"{path} at {pod.address} answers {error.status}"
    if error.status in (401, 403):
        fix = "the key is wrong: correct engines.api_key or engines.api_keys_file"
        missing = "set engines.api_key, or engines.api_keys_file for some models"
        return EngineFinding("KeyWanted", pod.name, f"it wants an API key ({said})", fix if had_key else missing)
    if error.status == 404:
        fix = "let it serve OpenAI's API at /v1, or put something in front that does"
        return EngineFinding("OtherPath", pod.name, f"OpenAI's API is not there ({said})", fix)
    if speaks_tls:
        fix = "let engines speak plain HTTP inside, or put a proxy that ends TLS in front"
        return EngineFinding("SpeaksTls", pod.name, f"{pod.address} speaks TLS, and plain HTTP was sent to it", fix)
    if error.status:
        return EngineFinding("BadAnswer", pod.name, said, "see the engine's own log")
    fix = "start it, or correct the address; the endpoints file needs host:port of the engine itself"
    return EngineFinding("NoAnswer", pod.name, f"{pod.address} does not answer: {error}", fix)


def might_speak_tls(error: ScrapeError) -> bool:
    """Whether a failure looks as if TLS was expected: worth a handshake."""
    if error.outcome is FetchOutcome.BAD_STATUS:
        return error.status == 400
    text = str(error).lower()
    return error.outcome is FetchOutcome.REFUSED and any(part in text for part in _TLS_HANDSHAKE)


def not_a_list(pod: PodSpec, error: Exception) -> EngineFinding:
    """Something answers, and it is no engine."""
    fix = "correct the address: an engine with OpenAI's API must listen there"
    return EngineFinding("NotAnEngine", pod.name, f"/v1/models at {pod.address} is {error}", fix)


def other_engine(pod: PodSpec, page: bytes) -> EngineFinding | None:
    """The engine whose names are on its metrics page."""
    marks = engines_on_page(page)
    told = pod.engine.lower()
    if not marks or told in marks or any((told, mark) in _SAME_PAGE for mark in marks) or len(marks) > 1:
        return None
    (found,) = marks
    return EngineFinding(
        "OtherEngine",
        pod.name,
        f"its metrics are those of {found}, and it is configured as {told}",
        f"set engine: {found}; the queue and the KV cache are not known otherwise",
    )


def engines_on_page(page: bytes) -> set[str]:
    """Whose names are on a metrics page; an engine may show another's beside its own."""
    return {name for mark, name in _MARKS if page.startswith(mark) or b"\n" + mark in page}


def _quoted(names: Iterable[str]) -> str:
    shown = [repr(name[:100]) for name in names]
    more = f" and {len(shown) - _MAX_NAMES} more" if len(shown) > _MAX_NAMES else ""
    return ", ".join(shown[:_MAX_NAMES]) + more
