"""Local servers of weights: files over HTTP with ranges and faults, a small S3, a small Hugging Face."""

from __future__ import annotations

import asyncio
import hashlib
import random
import socket
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

from aiohttp import web


def weights(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@dataclass
class Shop:
    """What is offered under which path, and what was asked."""

    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    """Path and range."""
    sent_bytes: int = 0
    redirects: dict[str, str] = field(default_factory=dict)
    delay_seconds: float = 0.0
    """Before each 64 KiB."""
    break_after: int = 0
    """So many answers end half way."""
    ranges: bool = True
    refuse_times: int = 0
    authorizations: list[str] = field(default_factory=list)

    def etag(self, path: str) -> str:
        return f'"{hashlib.md5(self.files[path]).hexdigest()}"'


class ShopServer:
    """`async with ShopServer(shop) as url`."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop

    async def __aenter__(self) -> str:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{port}"
        return self.url

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        shop, path = self.shop, request.path
        shop.authorizations.append(request.headers.get("authorization", ""))
        if path in shop.redirects:
            return web.Response(status=302, headers={"location": shop.redirects[path]})
        if "list-type" in request.query:
            return self.listing(request)
        if path.startswith("/api/models/"):
            return self.repository(path)
        if path not in shop.files:
            return web.Response(status=404)
        if shop.refuse_times > 0:
            shop.refuse_times -= 1
            return web.Response(status=503)
        return await self.file(request, path)

    async def file(self, request: web.Request, path: str) -> web.StreamResponse:
        shop, data = self.shop, self.shop.files[path]
        match = request.headers.get("if-match")
        if match and match != shop.etag(path):
            return web.Response(status=412)
        asked = request.headers.get("range", "") if shop.ranges else ""
        shop.asked.append((path, asked))
        start, end = 0, len(data)
        headers = {"etag": shop.etag(path), "last-modified": "Fri, 27 Nov 2026 10:00:00 GMT"}
        if asked:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last) + 1 if last else len(data), len(data))
            if start >= len(data):
                return web.Response(status=416, headers={"content-range": f"bytes */{len(data)}"})
            headers["content-range"] = f"bytes {start}-{end - 1}/{len(data)}"
        response = web.StreamResponse(status=206 if asked else 200, headers=headers)
        response.content_length = end - start
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        breaks = shop.break_after > 0 and end - start > 1
        shop.break_after -= breaks
        for offset in range(start, end, 1 << 16):
            if breaks and offset >= (start + end) // 2:
                assert request.transport is not None
                request.transport.abort()
                return response
            piece = data[offset : min(offset + (1 << 16), end)]
            await asyncio.sleep(shop.delay_seconds)
            await response.write(piece)
            shop.sent_bytes += len(piece)
        return response

    def listing(self, request: web.Request) -> web.Response:
        """S3's ListObjectsV2 of a bucket that is named in the path."""
        bucket, prefix = request.path.strip("/"), request.query.get("prefix", "")
        keys = [path.removeprefix(f"/{bucket}/") for path in self.shop.files if path.startswith(f"/{bucket}/")]
        rows = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>2026-11-27T10:00:00.000Z</LastModified>"
            f"<ETag>{escape(self.shop.etag(f'/{bucket}/{key}'))}</ETag>"
            f"<Size>{len(self.shop.files[f'/{bucket}/{key}'])}</Size></Contents>"
            for key in sorted(keys)
            if key.startswith(prefix)
        )
        text = (
            '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult>'
            f"<Name>{bucket}</Name><IsTruncated>false</IsTruncated>{rows}</ListBucketResult>"
        )
        return web.Response(text=text, content_type="application/xml")

    def repository(self, path: str) -> web.Response:
        """`/api/models/OWNER/NAME/revision/REV`, with sizes and sums."""
        parts = path.split("/")
        name = "/".join(parts[3:5])
        found = {
            one.split("/resolve/", 1)[1].split("/", 1)[1]: data
            for one, data in self.shop.files.items()
            if one.startswith(f"/{name}/resolve/")
        }
        if not found:
            return web.json_response({"error": "Repository not found"}, status=404)
        siblings = []
        for file, data in found.items():
            one = {
                "rfilename": file,
                "size": len(data),
                "blobId": hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest(),
            }
            if file.endswith(".safetensors"):
                one["lfs"] = {"sha256": sha256(data), "size": len(data), "pointerSize": 134}
            siblings.append(one)
        return web.json_response({"id": name, "modelId": name, "sha": "c0ffee", "siblings": siblings, "tags": []})
