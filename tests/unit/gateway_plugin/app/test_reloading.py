"""Settings that change while the process runs: taken over one by one, or not at all."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from gateway_plugin.app.assembly import Assembly
from gateway_plugin.app.changeable import changeable, check_whole
from gateway_plugin.app.process import App
from gateway_plugin.app.reloading import Reloading
from gateway_plugin.metrics.metrics_page import page
from gateway_plugin.settings.loading import load
from ratelimit import LimitDefaults, UserRecord

GOOD = """
pods: {{endpoints_file: endpoints.yaml}}
logs: {{level: {level}}}
users: {{default_rpm: {rpm}}}
routing: {{default_strategy: {strategy}}}
"""


class Site:
    def __init__(self, file: Path) -> None:
        self.file = file
        self.write()
        self.app = Assembly(load(file, {}).settings)
        self.reloading = Reloading(
            load(file, {}), lambda: load(file, {}), file, changeable(self.app), partial(check_whole, self.app.router)
        )

    def write(self, level: str = "info", rpm: int = 100, strategy: str = "random", more: str = "") -> None:
        self.file.write_text(GOOD.format(level=level, rpm=rpm, strategy=strategy) + more)
        os.utime(self.file, ns=(1, int(self.file.stat().st_mtime_ns) + 1))

    @property
    def strategy(self) -> str:
        return self.app.processor.services.rules.default_strategy

    async def limit_of(self, user: str) -> int:
        usage = await self.app.limiter.store.usage(user)
        assert usage is not None
        return usage.limits.requests_per_minute


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    level = logging.getLogger().level
    yield Site(tmp_path / "gateway.yaml")
    logging.getLogger().setLevel(level)


async def test_what_may_change_is_taken_over_and_told(site: Site, caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO")
    await site.app.limiter.store.create(UserRecord("kim"))
    site.write(level="warning", rpm=7, strategy="least-request")
    site.reloading.reload()
    assert (site.strategy, await site.limit_of("kim")) == ("least-request", 7)
    assert logging.getLogger().level == logging.WARNING
    assert site.app.limiter.defaults == LimitDefaults(7, 1000, 20)
    said = [vars(record)["gateway_fields"] for record in caplog.records]
    told = {one["setting"]: one for one in said}
    assert told["users.default_rpm"] == {"setting": "users.default_rpm", "before": "100", "now": "7"}
    assert told.keys() == {"users.default_rpm", "routing.default_strategy", "logs.level"}
    assert site.reloading.reloads().outcomes == {"ok": 1, "refused": 0}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rpm": 5, "strategy": "no-such"}, "routing.default_strategy = 'no-such': no such strategy"),
        ({"rpm": 0}, "users.default_rpm = 0"),
        ({"rpm": 5, "more": "logz: {level: info}"}, "did you mean logs?"),
        ({"rpm": 5, "more": "\tnonsense"}, "is not YAML"),
    ],
)
async def test_what_is_wrong_anywhere_changes_nothing(site: Site, changes: dict[str, object], message: str):
    site.write(**changes)  # type: ignore[arg-type]
    site.reloading.reload()
    assert message in site.reloading.refused
    assert (site.strategy, site.app.limiter.defaults.requests_per_minute) == ("random", 100)
    site.write(rpm=5)
    site.reloading.reload()
    assert (site.reloading.refused, site.app.limiter.defaults.requests_per_minute) == ("", 5)
    assert site.reloading.reloads().outcomes == {"ok": 1, "refused": 1}


async def test_what_needs_a_restart_is_told(site: Site, caplog: pytest.LogCaptureFixture):
    site.write(more="listeners: {grpc_port: 50099}")
    site.reloading.reload()
    assert site.reloading.waits_for_restart == ("listeners.grpc_port",)
    assert "holds from the next start on" in caplog.text


async def test_a_metric_of_two_files_is_told_once(site: Site):
    App(site.app).follow_settings(site.reloading)
    text = (await page(site.app.metrics.registry)).decode()
    told = [line.split()[2] for line in text.splitlines() if line.startswith("# HELP")]
    assert sorted(told) == sorted(set(told))
    for file in ("settings", "endpoints"):
        assert f'gateway_config_last_reload_successful{{file="{file}"}} 1.0' in text


@pytest.mark.looptime
async def test_the_file_is_followed_and_a_signal_looks_at_once(site: Site):
    task = asyncio.create_task(site.reloading.run())
    await asyncio.sleep(5)
    assert site.reloading.reloads().outcomes["ok"] == 0, "nothing has changed"
    site.write(rpm=9)
    await asyncio.sleep(2.1)
    assert site.app.limiter.defaults.requests_per_minute == 9
    site.reloading.ask()
    await asyncio.sleep(0.001)
    assert site.reloading.reloads().outcomes["ok"] == 2
    site.file.unlink()
    await asyncio.sleep(2.1)
    assert "No such file" in site.reloading.refused
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.looptime
async def test_a_file_that_is_being_written_is_waited_for(site: Site):
    task = asyncio.create_task(site.reloading.run())
    await asyncio.sleep(0.5)
    whole = GOOD.format(level="info", rpm=8, strategy="random")
    for length in range(0, len(whole), 40):  # one piece between any two looks
        site.file.write_text(whole[:length])
        await asyncio.sleep(1)
        assert site.reloading.reloads().outcomes == {"ok": 0, "refused": 0}
    site.file.write_text(whole)
    await asyncio.sleep(2.1)
    assert site.reloading.reloads().outcomes == {"ok": 1, "refused": 0}
    assert site.app.limiter.defaults.requests_per_minute == 8
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("content", ["", "\n", "# all gone\n", "---\n", "logs: {level: debug}", "pods:", "logs"])
async def test_a_part_of_a_file_changes_nothing(site: Site, content: str):
    site.file.write_text(content)
    site.reloading.reload()
    assert site.reloading.reloads().outcomes == {"ok": 0, "refused": 1}
    assert "half written" in site.reloading.refused
    assert (site.strategy, site.app.limiter.defaults.requests_per_minute) == ("random", 100)


async def test_a_shorter_file_that_is_whole_is_taken(site: Site):
    site.file.write_text("pods: {endpoints_file: endpoints.yaml}\n")
    site.reloading.reload()
    assert (site.reloading.refused, site.strategy) == ("", "")


async def test_what_a_start_would_refuse_is_refused_though_it_waits_for_one(site: Site):
    site.write(rpm=5, more="engines: {api_keys_file: /no/such/file}\n")
    site.reloading.reload()
    assert "/no/such/file" in site.reloading.refused
    assert site.app.limiter.defaults.requests_per_minute == 100


async def test_half_of_a_configuration_never_holds(site: Site, monkeypatch: pytest.MonkeyPatch):
    changes = dict(changeable(site.app))

    def broken(_: object) -> None:
        raise RuntimeError("a bug")

    last = list(changes)[-1]
    changes[last] = broken
    monkeypatch.setattr(site.reloading, "_apply", changes)
    site.write(rpm=5, strategy="least-request")
    site.reloading.reload()
    assert "a bug" in site.reloading.refused
    assert (site.strategy, site.reloading.reloads().outcomes) == ("random", {"ok": 0, "refused": 1})
