"""Every setting of the sidecar: AIBrix's variables, their units and reasons. A wrong value stops the start."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

MIB = 1 << 20
Setting = str | bool | int | float | Path
T = TypeVar("T", bound="str | bool | int | float | Path")
ENGINES = ("vllm", "sglang", "trtllm")
"""Whose adapters and metrics are known; of any other engine the page is passed on as it is."""


class RuntimeSettingsError(ValueError):
    """A variable that cannot be used: its name, its value, and what is allowed."""


def _variable(name: str, default: T, description: str, *, least: float | None = None) -> T:
    return field(
        default=default, metadata={"default": default, "env": name, "description": description, "least": least}
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeSettings:
    engine: str = _variable("INFERENCE_ENGINE", "vllm", "vllm, sglang or trtllm; others get neither adapters nor names")
    engine_version: str = _variable("INFERENCE_ENGINE_VERSION", "0.6.1", "told in `aibrix:info`, and used for nothing")
    engine_endpoint: str = _variable("INFERENCE_ENGINE_ENDPOINT", "http://localhost:8000", "the engine's base URL")
    engine_key: str = _variable("INFERENCE_ENGINE_API_KEY", "", "bearer token of the engine; empty: none")
    ready_asks_engine: bool = _variable("READY_ASKS_ENGINE", True, "/ready is 503 while the engine's /health fails")
    load_seconds: float = _variable("ENGINE_LOAD_SECONDS", 60.0, "for one load of an adapter by the engine", least=1)
    drain_seconds: float = _variable("DRAIN_SECONDS", 300.0, "/v1/drain waits so long for the last request", least=0)
    scrape_path: str = _variable("METRIC_SCRAPE_PATH", "/metrics", "of the engine's page")
    transform_metrics: bool = _variable("METRICS_ENABLE_TRANSFORMATION", True, "off: the engine's names alone")
    raw_metrics: bool = _variable("METRICS_RAW_PASSTHROUGH_MODE", False, "on: the engine's page byte for byte")
    model_directory: Path = _variable("DOWNLOADER_LOCAL_DIR", Path("/tmp/aibrix/models/"), "where models go")  # noqa: S108 - AIBrix's
    adapter_directory: Path = _variable(
        "ADAPTER_LOCAL_DIR",
        Path("/tmp/aibrix/adapters"),  # noqa: S108 - AIBrix's
        "where adapters go; the engine's container must have the same volume there",
    )
    credentials_directory: Path = _variable(
        "CREDENTIALS_DIR", Path("/etc/aibrix/credentials"), "Secrets mounted by name: DIR/NAME/KEY"
    )
    parallel_parts: int = _variable("DOWNLOADER_NUM_THREADS", 32, "parts read at the same time", least=1)
    part_bytes: int = _variable(
        "DOWNLOADER_PART_CHUNKSIZE", 64 * MIB, "of one part: what a broken connection costs at most", least=1024
    )
    part_retries: int = _variable("DOWNLOADER_PART_RETRIES", 5, "of a part before the download fails", least=0)
    allowed_suffixes: str = _variable("DOWNLOADER_ALLOW_FILE_SUFFIX", "", "by commas; empty: every file")
    force: bool = _variable("DOWNLOADER_FORCE_DOWNLOAD", False, "read again what is complete")
    reserve_bytes: int = _variable(
        "DOWNLOADER_RESERVE_BYTES", 256 * MIB, "left free on the volume: a full one takes the engine with it", least=0
    )
    most_bytes: int = _variable("DOWNLOADER_MAX_BYTES", 0, "of all models or all adapters; 0: the volume", least=0)
    hub_token: str = _variable("HF_TOKEN", "", "for private and gated repositories")
    hub_endpoint: str = _variable("HF_ENDPOINT", "https://huggingface.co", "a mirror's URL")
    hub_revision: str = _variable("HF_REVISION", "", "branch, tag or commit where a name says none")
    aws_access_key_id: str = _variable("AWS_ACCESS_KEY_ID", "", "empty: the machine's role")
    aws_secret_access_key: str = _variable("AWS_SECRET_ACCESS_KEY", "", "its other half")
    aws_endpoint: str = _variable("AWS_ENDPOINT_URL", "", "of another S3, such as MinIO; http:// is allowed")
    aws_region: str = _variable("AWS_REGION", "", "empty: us-east-1")
    tos_access_key: str = _variable("TOS_ACCESS_KEY", "", "of TOS, which is read over its S3 interface")
    tos_secret_key: str = _variable("TOS_SECRET_KEY", "", "its other half")
    tos_endpoint: str = _variable("TOS_ENDPOINT", "", "as tos-cn-beijing.volces.com")
    tos_region: str = _variable("TOS_REGION", "", "as cn-beijing")

    def variables(self) -> dict[str, tuple[Setting, str]]:
        """By name of the variable: default and description; for the documentation."""
        return {
            one.metadata["env"]: (one.metadata["default"], one.metadata["description"])
            for one in fields(RuntimeSettings)
        }


def settings_from(environment: Mapping[str, str]) -> RuntimeSettings:
    """RuntimeSettingsError names the first variable that is wrong; an empty one is as good as none."""
    found: dict[str, Setting] = {}
    for one in fields(RuntimeSettings):
        name = str(one.metadata["env"])
        text = environment.get(name, "").strip()
        if text:
            found[one.name] = _read(name, text, one.metadata["default"], one.metadata["least"])
    settings = replace(RuntimeSettings(), **found)  # type: ignore[arg-type]  # each was read as its default is
    for name, url in (("INFERENCE_ENGINE_ENDPOINT", settings.engine_endpoint), ("HF_ENDPOINT", settings.hub_endpoint)):
        if not url.startswith(("http://", "https://")):
            raise RuntimeSettingsError(f"{name}={url!r}: a URL that begins with http:// or https:// is wanted")
    return settings


def _read(name: str, text: str, default: Setting, least: float | None) -> Setting:
    if isinstance(default, bool):
        return _truth(name, text)
    if isinstance(default, (int, float)):
        return _number(name, text, type(default), least)
    return Path(text) if isinstance(default, Path) else text


def _truth(name: str, text: str) -> bool:
    words = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if text.lower() not in words:
        raise RuntimeSettingsError(f"{name}={text!r}: 1 or 0 is wanted")
    return words[text.lower()]


def _number(name: str, text: str, kind: type[int] | type[float], least: float | None) -> float:
    try:
        number = kind(text)
    except ValueError:
        raise RuntimeSettingsError(f"{name}={text!r}: {'an int' if kind is int else 'a number'} is wanted") from None
    if least is not None and not number >= least:
        raise RuntimeSettingsError(f"{name}={text!r}: at least {least:g} is wanted")
    return number
