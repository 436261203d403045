"""Downloads from real servers on loopback: whole or not at all, whatever breaks."""

from __future__ import annotations

import asyncio
import base64
import errno
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from gateway_plugin.runtime.bucket_place import BucketAccess, BucketPlace, bucket_store
from gateway_plugin.runtime.fetching import Fetch, FetchRules
from gateway_plugin.runtime.http_place import HttpPlace
from gateway_plugin.runtime.hub_place import HubPlace
from gateway_plugin.runtime.part_directory import MARKER, PartDirectory, held
from gateway_plugin.runtime.remote_files import ChecksumError, DiskFullError, DownloadError
from tests.integration.runtime.weights import Shop, ShopServer, sha256, weights

RULES = FetchRules(part_bytes=1 << 18, parallel_parts=4, retries=3, backoff_seconds=0.01)


def fetch(url: str, root: Path, rules: FetchRules = RULES) -> Fetch:
    return Fetch(HttpPlace(url), root, "model", url, url, rules)


def directory_shop(files: dict[str, bytes]) -> Shop:
    sums = "".join(f"{sha256(data)}  {name}\n" for name, data in files.items())
    return Shop({**{f"/m/{name}": data for name, data in files.items()}, "/m/SHA256SUMS": sums.encode()})


async def test_a_directory_comes_whole_and_in_parts(tmp_path: Path):
    files = {"model.safetensors": weights(1_500_000), "sub/config.json": b"{}", "empty": b""}
    shop = directory_shop(files)
    async with ShopServer(shop) as url:
        target = await fetch(f"{url}/m/", tmp_path).run()
    assert {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()} == {*files, MARKER}
    assert all((target / name).read_bytes() == data for name, data in files.items())
    assert sum(path == "/m/model.safetensors" for path, _ in shop.asked) == 1 + 6
    assert held(tmp_path) == {"model": True}


async def test_it_is_not_read_twice(tmp_path: Path):
    shop = Shop({"/f.bin": weights(1000)})
    async with ShopServer(shop) as url:
        await fetch(f"{url}/f.bin", tmp_path).run()
        asked = len(shop.asked)
        await fetch(f"{url}/f.bin", tmp_path).run()
        assert len(shop.asked) == asked
        await fetch(f"{url}/f.bin", tmp_path, FetchRules(force=True)).run()
        assert len(shop.asked) > asked


async def test_broken_connections_are_tried_again(tmp_path: Path):
    data = weights(900_000)
    shop = Shop({"/f.bin": data}, break_after=3)
    async with ShopServer(shop) as url:
        one = fetch(f"{url}/f.bin", tmp_path)
        target = await one.run()
    assert (target / "f.bin").read_bytes() == data
    assert one.progress.retries == 3


async def test_a_server_that_is_busy_for_ever_is_said(tmp_path: Path):
    shop = Shop({"/f.bin": weights(1000)})
    async with ShopServer(shop) as url:
        one = fetch(f"{url}/f.bin", tmp_path)
        await one._place.files()
        shop.refuse_times = 100
        with pytest.raises(DownloadError, match="HTTP 503"):
            await one.run()
    assert held(tmp_path) == {}


async def test_what_came_before_a_failure_is_kept(tmp_path: Path):
    data = weights(1 << 20)
    shop = Shop({"/f.bin": data}, break_after=99)
    rules = FetchRules(part_bytes=1 << 17, parallel_parts=1, retries=0)
    async with ShopServer(shop) as url:
        shop.break_after = 0
        half = fetch(f"{url}/f.bin", tmp_path, rules)
        read = half._directory.done
        seen: list[object] = []

        def stop_half_way(part):
            read(part)
            seen.append(part)
            if len(seen) == 4:
                shop.break_after = 99

        half._directory.done = stop_half_way  # type: ignore[method-assign]
        with pytest.raises(DownloadError):
            await half.run()
        assert held(tmp_path) == {"model": False}
        shop.break_after, shop.sent_bytes = 0, 0
        again = fetch(f"{url}/f.bin", tmp_path, rules)
        target = await again.run()
    assert (target / "f.bin").read_bytes() == data
    assert again.progress.kept_bytes == 1 << 19
    assert shop.sent_bytes <= (1 << 19) + 1  # the other half, and the first byte by which it was looked at


async def test_wrong_bytes_are_never_a_model(tmp_path: Path):
    shop = directory_shop({"a.bin": weights(300_000)})
    shop.files["/m/a.bin"] = weights(300_000, seed=2)
    async with ShopServer(shop) as url:
        with pytest.raises(ChecksumError, match=r"a\.bin: sha256 is"):
            await fetch(f"{url}/m/", tmp_path).run()
    assert not (tmp_path / "model").exists()
    assert held(tmp_path) == {}


async def test_a_sum_in_the_url_counts(tmp_path: Path):
    data = weights(5000)
    async with ShopServer(Shop({"/f.bin": data})) as url:
        with pytest.raises(ChecksumError):
            await fetch(f"{url}/f.bin#sha256={'0' * 64}", tmp_path).run()
        assert await fetch(f"{url}/f.bin#sha256={sha256(data)}", tmp_path).run() == tmp_path / "model"


async def test_a_redirect_that_moved_is_followed_anew(tmp_path: Path):
    data = weights(1 << 20)
    other = Shop({"/there": data, "/elsewhere": data})
    async with ShopServer(other) as far:
        shop = Shop(redirects={"/f.bin": f"{far}/there"})
        async with ShopServer(shop) as url:
            one = fetch(f"{url}/f.bin", tmp_path)
            write = one._directory.write

            def move(*arguments):
                shop.redirects["/f.bin"] = f"{far}/elsewhere"
                other.files.pop("/there", None)
                write(*arguments)

            one._directory.write = move  # type: ignore[method-assign]
            target = await one.run()
    assert (target / "f.bin").read_bytes() == data


class Changing(Shop):
    """Another version at each question."""

    def etag(self, path: str) -> str:
        return f'"{len(self.asked)}"'


async def test_a_file_that_changes_all_the_time_is_refused(tmp_path: Path):
    shop = Shop()
    async with ShopServer(Changing({"/there": weights(1 << 20)})) as far, ShopServer(shop) as url:
        shop.redirects["/f.bin"] = f"{far}/there"
        with pytest.raises(DownloadError, match="changed while it was read"):
            await fetch(f"{url}/f.bin", tmp_path).run()
    assert held(tmp_path) in ({}, {"model": False})


@pytest.mark.parametrize(
    ("location", "words"),
    [("file:///etc/passwd", "no URL of the web"), ("/loop", "more than 5 redirects"), ("", "no URL of the web")],
)
async def test_redirects_that_lead_nowhere(tmp_path: Path, location: str, words: str):
    async with ShopServer(Shop(redirects={"/loop": location})) as url:
        with pytest.raises(DownloadError, match=words):
            await fetch(f"{url}/loop", tmp_path).run()


async def test_without_ranges_it_is_read_whole(tmp_path: Path):
    data = weights(600_000)
    async with ShopServer(Shop({"/f.bin": data}, ranges=False)) as url:
        target = await fetch(f"{url}/f.bin", tmp_path).run()
    assert (target / "f.bin").read_bytes() == data


async def test_no_room_is_said_before_anything_is_read(tmp_path: Path):
    shop = Shop({"/f.bin": weights(100_000)})
    async with ShopServer(shop) as url:
        with pytest.raises(DiskFullError, match="free"):
            await fetch(f"{url}/f.bin", tmp_path, FetchRules(reserve_bytes=1 << 60)).run()
        with pytest.raises(DiskFullError, match="of at most 50000 are held"):
            await fetch(f"{url}/f.bin", tmp_path, FetchRules(most_bytes=50_000)).run()
    assert shop.sent_bytes <= 2


async def test_a_disk_that_fills_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    data = weights(1 << 20)
    pwrite, full = os.pwrite, [True]

    def some(descriptor: int, piece: bytes, offset: int) -> int:
        if offset >= 1 << 19 and full[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        return pwrite(descriptor, piece, offset)

    monkeypatch.setattr(os, "pwrite", some)
    async with ShopServer(Shop({"/f.bin": data})) as url:
        rules = FetchRules(part_bytes=1 << 18, parallel_parts=1)
        with pytest.raises(DiskFullError, match="No space left"):
            await fetch(f"{url}/f.bin", tmp_path, rules).run()
        assert held(tmp_path) == {"model": False}
        full[0] = False
        again = fetch(f"{url}/f.bin", tmp_path, rules)
        assert (await again.run() / "f.bin").read_bytes() == data
    assert again.progress.kept_bytes == 1 << 19


async def test_a_new_version_is_begun_anew(tmp_path: Path):
    shop = Shop({"/f.bin": weights(1 << 19)})
    async with ShopServer(shop) as url:
        directory = PartDirectory(tmp_path, "model")
        assert directory.lock()
        place = HttpPlace(f"{url}/f.bin")
        files = await place.files()
        await place.close()
        directory.begin(f"{url}/f.bin", files, RULES.part_bytes)
        directory.close()
        newer = shop.files["/f.bin"] = weights(1 << 19, seed=3)
        target = await fetch(f"{url}/f.bin", tmp_path).run()
    assert (target / "f.bin").read_bytes() == newer


async def test_names_that_leave_the_directory(tmp_path: Path):
    sums = f"{'0' * 64}  ../../evil\n"
    async with ShopServer(Shop({"/m/SHA256SUMS": sums.encode(), "/evil": b"x", "/m/../../evil": b"x"})) as url:
        with pytest.raises(DownloadError):
            await fetch(f"{url}/m/", tmp_path).run()
    assert not list(tmp_path.parent.glob("evil"))


async def test_a_bucket(tmp_path: Path):
    pytest.importorskip("obstore")
    data = weights(700_000)
    shop = Shop({"/bucket/models/one/a.safetensors": data, "/bucket/models/one/config.json": b"{}", "/bucket/x": b""})
    shop.files["/bucket/models/one/SHA256SUMS"] = f"{sha256(data)}  a.safetensors\n".encode()
    access = BucketAccess(access_key="a", secret_key="b")
    async with ShopServer(shop) as url:
        store = bucket_store("s3", "bucket", BucketAccess(access_key="a", secret_key="b", endpoint=url))
        target = await Fetch(
            BucketPlace(store, "models/one", "s3://bucket/models/one"), tmp_path, "m", "i", "u", RULES
        ).run()
        shop.files["/bucket/models/one/a.safetensors"] = weights(700_000, seed=8)
        with pytest.raises(ChecksumError):
            await Fetch(BucketPlace(store, "models/one", "s3://b"), tmp_path, "n", "i", "u", RULES).run()
        with pytest.raises(DownloadError, match=r"no files|not found|404"):
            await Fetch(BucketPlace(store, "none", "s3://b/none"), tmp_path, "o", "i", "u", RULES).run()
    assert (target / "a.safetensors").read_bytes() == data
    assert (target / "config.json").read_bytes() == b"{}"
    assert access.endpoint == ""
    assert any(one.startswith("AWS4-HMAC-SHA256") for one in shop.authorizations)


async def test_a_repository_and_its_token_stay_at_home(tmp_path: Path):
    pytest.importorskip("huggingface_hub")
    data = weights(400_000)
    far = Shop({"/blob": data})
    async with ShopServer(far) as cdn:
        shop = Shop(
            {"/org/name/resolve/c0ffee/model.safetensors": data, "/org/name/resolve/c0ffee/config.json": b"{}"},
            redirects={"/org/name/resolve/c0ffee/model.safetensors": f"{cdn}/blob"},
        )
        async with ShopServer(shop) as url:
            place = HubPlace("org/name", "main", url, "secret-token")
            target = await Fetch(place, tmp_path, "m", "i", "u", RULES).run()
            with pytest.raises(DownloadError, match="nobody/none") as missing:
                await Fetch(HubPlace("nobody/none", "", url, ""), tmp_path, "n", "i", "u", RULES).run()
    assert (target / "model.safetensors").read_bytes() == data
    assert place.revision == "c0ffee"
    assert missing.value.status in (401, 404)
    assert "Bearer secret-token" in shop.authorizations
    assert set(far.authorizations) == {""}


async def test_a_repository_whose_bytes_are_wrong(tmp_path: Path):
    pytest.importorskip("huggingface_hub")
    async with ShopServer(Shop({"/blob": weights(10, seed=5)})) as cdn:
        shop = Shop({"/org/name/resolve/c0ffee/model.safetensors": weights(10)})
        shop.redirects["/org/name/resolve/c0ffee/model.safetensors"] = f"{cdn}/blob"
        async with ShopServer(shop) as url:
            with pytest.raises(ChecksumError):
                await Fetch(HubPlace("org/name", "", url, ""), tmp_path, "m", "i", "u", RULES).run()
    assert not (tmp_path / "m").exists()


async def test_killed_in_the_middle_and_started_again(tmp_path: Path):
    data = weights(8 << 20)
    shop = Shop({"/big.bin": data}, delay_seconds=0.02)
    async with ShopServer(shop) as url:
        environment = {**os.environ, "DOWNLOADER_PART_CHUNKSIZE": str(1 << 18), "DOWNLOADER_NUM_THREADS": "2"}
        environment["DOWNLOADER_RESERVE_BYTES"] = "0"
        command = [sys.executable, "-c", "from gateway_plugin.runtime.download_command import main; main()"]
        command += ["--model-uri", f"{url}/big.bin", "--local-dir", str(tmp_path), "--model-name", "big"]
        first = await asyncio.create_subprocess_exec(*command, env=environment)
        journal = tmp_path / ".part-big" / "journal"
        async with asyncio.timeout(40):
            while not journal.exists() or len(journal.read_text().splitlines()) < 6:  # noqa: ASYNC110 - of a process
                await asyncio.sleep(0.05)
        first.send_signal(signal.SIGKILL)
        await first.wait()
        assert not (tmp_path / "big").exists()
        shop.sent_bytes, shop.delay_seconds = 0, 0.0
        second = await asyncio.create_subprocess_exec(*command, env=environment, stdout=asyncio.subprocess.PIPE)
        out, _ = await second.communicate()
    assert second.returncode == 0
    assert out.decode().strip() == str(tmp_path / "big")
    assert (tmp_path / "big" / "big.bin").read_bytes() == data
    assert shop.sent_bytes <= len(data) - 5 * (1 << 18) + 1
    assert json.loads((tmp_path / "big" / MARKER).read_text())["bytes"] == len(data)


async def test_two_processes_share_one_download(tmp_path: Path):
    shop = Shop({"/f.bin": weights(1 << 20)}, delay_seconds=0.01)
    async with ShopServer(shop) as url:
        one, other = fetch(f"{url}/f.bin", tmp_path), fetch(f"{url}/f.bin", tmp_path)
        await asyncio.gather(one.run(), other.run())
    assert shop.sent_bytes <= (1 << 20) + 1


def test_a_told_digest_is_read():
    from gateway_plugin.runtime.http_place import checksum_of

    digest = base64.b64encode(bytes(32)).decode()
    assert checksum_of({"repr-digest": f"sha-256=:{digest}:"}) == "sha256:" + "00" * 32
    assert checksum_of({"x-amz-checksum-sha256": digest}) == "sha256:" + "00" * 32
    assert checksum_of({"repr-digest": "sha-256=:AA:"}) == ""
