"""What clients of the sidecar send: unknown fields are 422, as they are there where its clients come from."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

LoraName = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$")]
Text = Annotated[str, Field(min_length=1, max_length=2048)]
Credentials = Annotated[dict[str, Annotated[str, Field(max_length=16384)]], Field(max_length=32)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", protected_namespaces=())


class LoadLora(_Strict):
    """Directly by a path that the engine can read, or delegated by an artifact that is fetched first."""

    lora_name: LoraName
    lora_path: Text | None = None
    artifact_url: Text | None = None
    credentials_secret: Annotated[str, Field(max_length=253, pattern=r"^[a-z0-9][a-z0-9.-]*$")] | None = None
    credentials: Credentials | None = None
    additional_config: Credentials | None = None
    local_dir: str | None = None
    """AIBrix's; where adapters go is decided by whoever starts the sidecar."""

    @model_validator(mode="after")
    def _one_source(self) -> LoadLora:
        if (self.lora_path is None) == (self.artifact_url is None):
            raise ValueError("one of lora_path and artifact_url is wanted")
        return self


class UnloadLora(_Strict):
    lora_name: LoraName
    lora_int_id: int | None = None
    cleanup_local: bool = False


class DownloadModel(_Strict):
    model_uri: Text
    local_dir: str | None = None
    model_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")] | None = None
    download_extra_config: dict[str, Any] | None = None


class ListModels(_Strict):
    local_dir: str | None = None
