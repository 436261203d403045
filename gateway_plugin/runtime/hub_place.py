"""A repository of Hugging Face or of a mirror: listed by its own library, read in ranges, checked file by file.

A branch or tag is pinned to the commit that it means when the download begins, so that no file is of another one.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from gateway_plugin.runtime.http_place import HttpReader
from gateway_plugin.runtime.remote_files import DownloadError, RemoteFile

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_LIST_SECONDS = 30.0
"""For the repository's list of files."""


class HubPlace:
    """`repository`: owner/name, or with a folder behind it."""

    def __init__(self, repository: str, revision: str, endpoint: str, token: str) -> None:
        owner, name, *folders = repository.split("/")
        self._repository, self._folder = f"{owner}/{name}", "/".join(folders)
        self._endpoint, self._token = endpoint.rstrip("/"), token
        self.revision = revision or "main"
        """After `files`: the commit."""
        self._reader = HttpReader({"authorization": f"Bearer {token}"} if token else {})

    async def files(self) -> list[RemoteFile]:
        """Those of the folder, or of the whole repository."""
        info = await asyncio.to_thread(self._info)
        self.revision = info.sha or self.revision
        prefix = f"{self._folder}/" if self._folder else ""
        return [
            RemoteFile(
                one.rfilename.removeprefix(prefix),
                int(one.size or 0),
                str(one.blob_id or ""),
                f"sha256:{one.lfs.sha256}" if one.lfs else f"blob:{one.blob_id}" if one.blob_id else "",
            )
            for one in info.siblings or ()
            if one.rfilename.startswith(prefix)
        ]

    def _info(self) -> Any:  # noqa: ANN401 - of an extra
        try:
            from huggingface_hub import HfApi  # noqa: PLC0415 - of an extra
            from huggingface_hub.errors import HfHubHTTPError  # noqa: PLC0415
        except ImportError:
            raise DownloadError("Hugging Face needs the extra `runtime`", status=501) from None
        api = HfApi(endpoint=self._endpoint, token=self._token or False)
        try:
            return api.model_info(self._repository, revision=self.revision, files_metadata=True, timeout=_LIST_SECONDS)
        except HfHubHTTPError as error:
            status = getattr(error.response, "status_code", 502)
            words = str(error).strip().splitlines()[0] if str(error).strip() else f"HTTP {status}"
            kept = status if status in (401, 403, 404) else 502
            raise DownloadError(
                f"{self._repository}@{self.revision}: {words}", passing=status >= 500, status=kept
            ) from None
        except Exception as error:  # whatever its HTTP client raises
            raise DownloadError(f"{self._endpoint}: {str(error) or type(error).__name__}", passing=True) from error

    def read(self, file: RemoteFile, start: int, end: int) -> AsyncIterator[bytes]:
        """ETags of its storage are none of git's, so the sums tell whether it is the right file."""
        path = f"{self._folder}/{file.name}" if self._folder else file.name
        url = f"{self._endpoint}/{self._repository}/resolve/{self.revision}/{quote(path)}"
        unversioned = RemoteFile(file.name, file.size_bytes, "", file.checksum, file.ranges)
        return self._reader.read(url, unversioned, start, end)

    async def close(self) -> None:
        await self._reader.close()
