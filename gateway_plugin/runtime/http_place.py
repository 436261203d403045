"""Files over HTTP(S): one file, or a directory that has a list `SHA256SUMS`. Ranges, redirects, versions by ETag.

Redirects are followed anew for each part, so one that moved meanwhile is no matter as long as the version is the same.
A redirect never leads from https to http, and credentials never to another host.
"""

from __future__ import annotations

import base64
import binascii
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote, urldefrag, urljoin, urlsplit

import aiohttp

from gateway_plugin.runtime.remote_files import ChangedError, DownloadError, RemoteFile

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

LIST_NAME = "SHA256SUMS"
MOST_REDIRECTS = 5
"""A store's own front needs two."""
CHUNK_BYTES = 1 << 20
"""Handed to the disk at once: a thread's hop costs as much as 20 KiB of writing."""
_MOST_LIST_BYTES = 1 << 20
"""Of a list: 10,000 files, a hundred bytes each."""
_CONNECT_SECONDS, _READ_SECONDS = 10.0, 30.0
"""For a connection; without any byte. The whole has no bound: it may be gigabytes."""
_MOVED = (301, 302, 303, 307, 308)
_PASSING = (408, 425, 429, 500, 502, 503, 504)
_LINE = re.compile(r"([0-9a-fA-F]{64}) [ *](.+)")
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


class HttpReader:
    """Ranges of URLs. Close it."""

    def __init__(self, headers: Mapping[str, str] | None = None) -> None:
        self._headers = dict(headers or {})
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    @asynccontextmanager
    async def get(self, url: str, headers: Mapping[str, str]) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer at the end of the redirects. DownloadError when there is none."""
        if self._session is None:
            limits = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=_READ_SECONDS)
            self._session = aiohttp.ClientSession(timeout=limits, auto_decompress=False)
        first, sent = url, {**self._headers, **headers, "accept-encoding": "identity"}
        try:
            for _ in range(MOST_REDIRECTS + 1):
                async with self._session.get(url, headers=sent, allow_redirects=False) as response:
                    if response.status not in _MOVED:
                        yield response
                        return
                    following = redirected(url, response.headers.get("location", ""))
                    if _host(following) != _host(url):
                        sent = {name: value for name, value in sent.items() if name not in self._headers}
                    url = following
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            words = str(error) or type(error).__name__
            raise DownloadError(f"{shown(url)}: {words}", passing=True) from None
        raise DownloadError(f"{shown(first)}: more than {MOST_REDIRECTS} redirects")

    async def look(self, url: str, name: str) -> RemoteFile:
        """What a file is, by its first byte."""
        async with self.get(url, {"range": "bytes=0-0"}) as response:
            found = response.headers
            told = _RANGE.fullmatch(found.get("content-range", ""))
            if response.status == 206 and told is not None:
                return RemoteFile(name, int(told[3]), version_of(found), checksum_of(found))
            if response.status == 416 and found.get("content-range", "").endswith("/0"):
                return RemoteFile(name, 0, version_of(found))
            refuse(url, response.status)
            if response.content_length is None:
                raise DownloadError(f"{shown(url)}: no length is told, so its end cannot be known")
            return RemoteFile(name, response.content_length, version_of(found), checksum_of(found), ranges=False)

    async def read(self, url: str, file: RemoteFile, start: int, end: int) -> AsyncIterator[bytes]:
        """Bytes of a file that was looked at."""
        headers = {"range": f"bytes={start}-{end - 1}"} if file.ranges else {}
        async with self.get(url, headers) as response:
            refuse(url, response.status, moved=str(response.url) != url)
            _must_be(url, file, response, start, end)
            left = end - start
            async for chunk in response.content.iter_chunked(CHUNK_BYTES):
                left -= len(chunk)
                if left < 0:
                    raise ChangedError(f"{shown(url)}: more bytes came than were asked for")
                yield chunk
            if left:
                raise DownloadError(f"{shown(url)}: ended {left} bytes early", passing=True)

    async def text(self, url: str) -> str | None:
        """A small text, or None where there is none."""
        async with self.get(url, {}) as response:
            if response.status in (404, 403):
                return None
            refuse(url, response.status)
            data = await response.content.read(_MOST_LIST_BYTES + 1)
            while len(data) <= _MOST_LIST_BYTES and (more := await response.content.read(_MOST_LIST_BYTES)):
                data += more
            if len(data) > _MOST_LIST_BYTES:
                raise DownloadError(f"{shown(url)}: longer than {_MOST_LIST_BYTES} bytes")
            return data.decode(errors="replace")


class HttpPlace:
    """`https://host/file[#sha256=HEX]`, or `https://host/directory/` with a list of its files."""

    def __init__(self, url: str, most_bytes: int = 0) -> None:
        self._url, fragment = urldefrag(url)
        self._sum = fragment.removeprefix("sha256=") if fragment.startswith("sha256=") else ""
        self._reader, self._most_bytes = HttpReader(), most_bytes

    async def files(self) -> list[RemoteFile]:
        """Of a directory without a list it is not known what is in it."""
        found = await (self._listed() if urlsplit(self._url).path.endswith("/") else self._single())
        total = sum(file.size_bytes for file in found)
        if self._most_bytes and total > self._most_bytes:
            raise DownloadError(f"{shown(self._url)}: {total} bytes, and {self._most_bytes} are allowed", status=413)
        return found

    async def _single(self) -> list[RemoteFile]:
        file = await self._reader.look(self._url, urlsplit(self._url).path.rpartition("/")[2] or "file")
        checksum = f"sha256:{self._sum}" if self._sum else file.checksum
        return [RemoteFile(file.name, file.size_bytes, file.version, checksum, file.ranges)]

    async def _listed(self) -> list[RemoteFile]:
        text = await self._reader.text(urljoin(self._url, LIST_NAME))
        if text is None:
            raise DownloadError(f"{shown(self._url)}: a directory needs a list of its files, {LIST_NAME}", status=404)
        found = []
        for name, checksum in listed_sums(text).items():
            file = await self._reader.look(self._url_of(name), name)
            found.append(RemoteFile(name, file.size_bytes, file.version, f"sha256:{checksum}", file.ranges))
        return found

    def _url_of(self, name: str) -> str:
        return self._url + quote(name) if urlsplit(self._url).path.endswith("/") else self._url

    def read(self, file: RemoteFile, start: int, end: int) -> AsyncIterator[bytes]:
        return self._reader.read(self._url_of(file.name), file, start, end)

    async def close(self) -> None:
        await self._reader.close()


def listed_sums(text: str) -> dict[str, str]:
    """`sha256sum`'s lines: by name, the sum."""
    lines = [_LINE.fullmatch(line) for line in text.splitlines()]
    return {line[2].removeprefix("./"): line[1].lower() for line in lines if line is not None}


def redirected(url: str, location: str) -> str:
    """Where a redirect leads. DownloadError where it must not."""
    following = urljoin(url, location)
    parts = urlsplit(following)
    if not location or parts.scheme not in ("http", "https") or not parts.netloc:
        raise DownloadError(f"{shown(url)}: redirected to {location[:100]!r}, which is no URL of the web")
    if urlsplit(url).scheme == "https" and parts.scheme == "http":
        raise DownloadError(f"{shown(url)}: redirected from https to http://{parts.netloc}, which is not followed")
    return following


def refuse(url: str, status: int, *, moved: bool = False) -> None:
    """DownloadError for any answer without the file. `moved`: of where a redirect led, which may be another by now."""
    if status in (200, 206):
        return
    if status in (412, 416):
        raise ChangedError(f"{shown(url)}: HTTP {status}: it changed while it was read")
    kept = status if status in (401, 403, 404) else 502
    raise DownloadError(f"{shown(url)}: HTTP {status}", passing=moved or status in _PASSING, status=kept)


def _must_be(url: str, file: RemoteFile, response: aiohttp.ClientResponse, start: int, end: int) -> None:
    told = _RANGE.fullmatch(response.headers.get("content-range", ""))
    version = version_of(response.headers)
    if file.version and version and version != file.version:
        raise ChangedError(f"{shown(url)}: it changed while it was read: {version} instead of {file.version}")
    if not file.ranges:
        right = response.status == 200 and response.content_length == file.size_bytes
    else:
        right = told is not None and (int(told[1]), int(told[2]), int(told[3])) == (start, end - 1, file.size_bytes)
    if not right:
        raise ChangedError(f"{shown(url)}: bytes {start} to {end} of {file.size_bytes} were asked for, others came")


def version_of(headers: Mapping[str, str]) -> str:
    """A strong ETag, else the time of the last change, else nothing."""
    tag = headers.get("etag", "")
    return tag if tag and not tag.startswith("W/") else headers.get("last-modified", "")


def checksum_of(headers: Mapping[str, str]) -> str:
    """Of the whole file, where the server tells it (RFC 9530 `Repr-Digest`, S3's header)."""
    digest = re.search(r"sha-256=:([A-Za-z0-9+/=]+):", headers.get("repr-digest", ""))
    coded = digest[1] if digest else headers.get("x-amz-checksum-sha256", "")
    try:
        raw = base64.b64decode(coded, validate=True)
    except binascii.Error:
        return ""
    return f"sha256:{raw.hex()}" if len(raw) == 32 else ""


def shown(url: str) -> str:
    """Without its query: signatures stand there."""
    return url.partition("?")[0]


def _host(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc
