"""Files below a prefix of S3, Google Cloud Storage, or TOS (over its S3 interface), through `obstore`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway_plugin.runtime.http_place import LIST_NAME, listed_sums
from gateway_plugin.runtime.remote_files import ChangedError, DownloadError, RemoteFile

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_MOST_FILES = 10_000
"""A prefix with more is no model."""
_TIMEOUTS: dict[str, Any] = {"connect_timeout": "10s", "timeout": "300s"}
_RETRIES: dict[str, Any] = {"max_retries": 2}
"""Of the library; parts are tried again by us."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketAccess:
    """Where the store is and who asks."""

    access_key: str = ""
    secret_key: str = ""
    session_token: str = ""
    endpoint: str = ""
    region: str = ""
    account_json: str = ""
    """Google's service account."""
    anonymous: bool = False


def bucket_store(source: str, bucket: str, access: BucketAccess) -> Any:  # noqa: ANN401 - of an extra
    """`source`: s3, tos or gcs. DownloadError when the library is absent or refuses."""
    try:
        from obstore.store import GCSStore, S3Store  # noqa: PLC0415 - of an extra
    except ImportError:
        raise DownloadError("object stores need the extra `runtime`", status=501) from None
    options = {**_TIMEOUTS, "allow_http": access.endpoint.startswith("http://")}
    try:
        if source == "gcs":
            own = {"service_account_key": access.account_json} if access.account_json else {}
            skip = {"skip_signature": True} if access.anonymous else {}
            base = {"base_url": access.endpoint} if access.endpoint else {}
            return GCSStore(bucket, client_options=options, retry_config=_RETRIES, **own, **skip, **base)
        return S3Store(bucket, client_options=options, retry_config=_RETRIES, **_s3_options(source, access))
    except Exception as error:  # its own classes, many
        raise DownloadError(f"{source}://{bucket}: {error}", status=400) from error


def _s3_options(source: str, access: BucketAccess) -> dict[str, Any]:
    found: dict[str, Any] = {"region": access.region or "us-east-1"}
    endpoint = access.endpoint
    if source == "tos":
        endpoint = tos_endpoint(endpoint, access.region)
        found["virtual_hosted_style_request"] = True
        if not endpoint.endswith(".volces.com"):
            found["virtual_hosted_style_request"] = False
    if endpoint:
        found["endpoint"] = endpoint
    if access.access_key:
        found |= {"access_key_id": access.access_key, "secret_access_key": access.secret_key}
    if access.session_token:
        found["token"] = access.session_token
    if access.anonymous:
        found["skip_signature"] = True
    return found


def tos_endpoint(endpoint: str, region: str) -> str:
    """TOS speaks S3 under a name of its own: tos-s3-REGION instead of tos-REGION."""
    host = endpoint or f"tos-{region or 'cn-beijing'}.volces.com"
    scheme, separator, rest = host.rpartition("://")
    if rest.startswith("tos-") and not rest.startswith("tos-s3-"):
        rest = "tos-s3-" + rest.removeprefix("tos-")
    return f"{scheme or 'https'}{separator or '://'}{rest}"


class BucketPlace:
    """Everything below `prefix`; a list `SHA256SUMS` among it is believed."""

    def __init__(self, store: Any, prefix: str, shown_as: str) -> None:  # noqa: ANN401 - of an extra
        self._store, self._prefix, self._shown = store, prefix.strip("/"), shown_as
        self._keys: dict[str, str] = {}

    async def files(self) -> list[RemoteFile]:
        """Not the empty objects that some tools make for folders."""
        import obstore  # noqa: PLC0415 - of an extra

        metas: list[Any] = []
        try:
            async for page in obstore.list(self._store, prefix=self._prefix or None):
                metas += page
                if len(metas) > _MOST_FILES:
                    break
            if not metas and self._prefix:
                metas.append(await obstore.head_async(self._store, self._prefix))
        except Exception as error:
            raise self._failure(error) from error
        if len(metas) > _MOST_FILES:
            raise DownloadError(f"{self._shown}: more than {_MOST_FILES} files", status=413)
        self._keys = {self._name(meta["path"]): meta["path"] for meta in metas if not meta["path"].endswith("/")}
        sums = await self._sums()
        by_path = {meta["path"]: meta for meta in metas}
        return [
            RemoteFile(
                name,
                int(by_path[path]["size"]),
                str(by_path[path].get("e_tag") or ""),
                f"sha256:{sums[name]}" if name in sums else "",
            )
            for name, path in self._keys.items()
        ]

    async def _sums(self) -> dict[str, str]:
        import obstore  # noqa: PLC0415 - of an extra

        if LIST_NAME not in self._keys:
            return {}
        try:
            found = await (await obstore.get_async(self._store, self._keys[LIST_NAME])).bytes_async()
        except Exception as error:
            raise self._failure(error) from error
        return listed_sums(bytes(found).decode(errors="replace"))

    def _name(self, path: str) -> str:
        below = path.removeprefix(f"{self._prefix}/") if self._prefix else path
        return below if below != self._prefix else path.rpartition("/")[2]

    async def read(self, file: RemoteFile, start: int, end: int) -> AsyncIterator[bytes]:
        import obstore  # noqa: PLC0415 - of an extra

        options: Any = {"range": (start, end)}
        if file.version:
            options["if_match"] = file.version
        left = end - start
        try:
            answer = await obstore.get_async(self._store, self._keys[file.name], options=options)
            async for chunk in answer.stream():
                left -= len(chunk)
                yield bytes(chunk)
        except Exception as error:
            raise self._failure(error) from error
        if left:
            raise DownloadError(f"{self._shown}/{file.name}: {left} bytes are missing", passing=True)

    def _failure(self, error: Exception) -> DownloadError:
        if isinstance(error, DownloadError):
            return error
        kind, words = type(error).__name__, str(error).strip().splitlines()[0][:300]
        if kind == "PreconditionError":
            return ChangedError(f"{self._shown}: it changed while it was read")
        status = {"NotFoundError": 404, "FileNotFoundError": 404, "PermissionDeniedError": 403}.get(kind, 502)
        status = 401 if kind == "UnauthenticatedError" else status
        return DownloadError(f"{self._shown}: {words}", passing=status == 502, status=status)

    async def close(self) -> None: ...
