"""From what users write to a place that can be read: Hugging Face, S3, GCS, TOS, HTTP(S), or a path."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from gateway_plugin.runtime.bucket_place import BucketAccess, BucketPlace, bucket_store
from gateway_plugin.runtime.http_place import HttpPlace
from gateway_plugin.runtime.hub_place import HubPlace
from gateway_plugin.runtime.remote_files import DownloadError
from orchestration.adapters.artifact import Artifact, artifact_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway_plugin.runtime.remote_files import RemotePlace
    from gateway_plugin.runtime.runtime_settings import RuntimeSettings

_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")
_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")


def artifact_named(uri: str) -> Artifact:
    """As `artifact_of`, and `owner/name[@revision]` is Hugging Face. DownloadError when it is none of them."""
    try:
        found = artifact_of(f"hf://{uri}" if _REPOSITORY.fullmatch(uri) else uri)
    except ValueError as error:
        raise DownloadError(str(error).replace("artifactURL", "the model"), status=400) from None
    return found


def directory_name(artifact: Artifact, model_name: str = "") -> str:
    """Of the directory below the models' own."""
    name = model_name or artifact.location.partition("#")[0].rstrip("/").rpartition("/")[2]
    return _UNFIT.sub("-", name).lstrip(".-")[:128] or "model"


def local_directory(artifact: Artifact) -> Path:
    """A path as it is: nothing is copied. DownloadError when there is no such directory."""
    path = Path(artifact.location)
    if not path.is_dir():
        raise DownloadError(f"{path} is no directory", status=404)
    return path


def place_of(artifact: Artifact, settings: RuntimeSettings, credentials: Mapping[str, str]) -> RemotePlace:
    """`credentials`: AIBrix's keys, over the environment's. Nothing is asked yet."""
    if artifact.source == "huggingface":
        token = credentials.get("huggingface_token") or settings.hub_token
        endpoint = credentials.get("endpoint") or settings.hub_endpoint
        return HubPlace(artifact.location, artifact.revision or settings.hub_revision, endpoint, token)
    if artifact.source == "http":
        return HttpPlace(artifact.url, settings.most_bytes)
    parts = urlsplit(artifact.location)
    access = bucket_access(artifact.source, settings, credentials)
    store = bucket_store(artifact.source, parts.netloc, access)
    return BucketPlace(store, parts.path, artifact.location)


def bucket_access(source: str, settings: RuntimeSettings, credentials: Mapping[str, str]) -> BucketAccess:
    """What was sent, else the environment's."""
    get = credentials.get
    if source == "gcs":
        return BucketAccess(
            account_json=get("gcp_service_account_json", ""),
            endpoint=get("endpoint", ""),
            anonymous=get("anonymous") == "true",
        )
    if source == "tos":
        return BucketAccess(
            access_key=get("ak") or settings.tos_access_key,
            secret_key=get("sk") or settings.tos_secret_key,
            session_token=get("session_key", ""),
            endpoint=get("endpoint") or settings.tos_endpoint,
            region=get("region") or settings.tos_region,
        )
    return BucketAccess(
        access_key=get("aws_access_key_id") or get("ak") or settings.aws_access_key_id,
        secret_key=get("aws_secret_access_key") or get("sk") or settings.aws_secret_access_key,
        session_token=get("aws_session_token") or get("session_key") or "",
        endpoint=get("endpoint") or settings.aws_endpoint,
        region=get("aws_region") or get("region") or settings.aws_region,
        anonymous=get("anonymous") == "true",
    )
