"""The live page, in a real browser over a real chain under load: what it shows, and whether everybody can read it."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tests.page.conftest import Demo

IMAGES = Path(__file__).parents[2] / "docs" / "images"
RED_WITHIN_SECONDS = 3.0
SICK = "llama-3-8b-1"
Open = Callable[..., "Page"]


@pytest.fixture
def open_page(demo: Demo, browser: Browser) -> Iterator[Open]:
    """Opens the page; afterwards nobody must have complained, nor asked for anything elsewhere."""
    complaints: list[str] = []
    contexts = []

    def opened(path: str = "/", width: int = 1440, scheme: str = "light", **more: Any) -> Page:
        more |= {"color_scheme": scheme, "viewport": {"width": width, "height": 900}}
        context = browser.new_context(**more)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda told: complaints.append(told.text) if _is_complaint(told) else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request",
            lambda asked: (
                None
                if asked.url.startswith((demo.stack.ops_url, demo.stack.gateway_url))
                else complaints.append(asked.url)
            ),
        )
        page.goto(demo.stack.ops_url + path)
        page.wait_for_selector("#state.live")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


def _is_complaint(told: Any) -> bool:
    # Browsers write an error for every answer that is one.
    return told.type in ("error", "warning") and "the server responded with a status of 4" not in told.text


def test_tiles_and_figures_move(open_page: Open) -> None:
    page = open_page()
    page.wait_for_selector(".tile.ok[data-pod='qwen2-7b-2']")
    assert page.locator(".tile").count() == 6
    seen = set()
    for _ in range(40):
        seen.add(page.locator("#models").inner_text())
        if len(seen) >= 4:
            break
        page.wait_for_timeout(500)
    assert len(seen) >= 4
    page.wait_for_function("document.querySelectorAll('#charts canvas').length === 3")
    assert "p50" in str(page.locator(".plot").first.get_attribute("aria-label"))


def test_a_refusal_appears_and_is_found_by_its_id(open_page: Open) -> None:
    page = open_page()
    refusal = page.locator("#refusals tr", has_text="bob has exceeded RPM: 3").first
    refusal.wait_for()
    assert "429" in refusal.inner_text()
    address = str(refusal.locator("a[href^='#/request/']").get_attribute("href"))
    page.fill("#request-id", address.removeprefix("#/request/"))
    page.keyboard.press("Enter")
    page.locator("#detail", has_text="Refused with 429").wait_for()
    assert "bob has exceeded RPM: 3" in page.locator("#detail").inner_text()
    page.go_back()
    page.wait_for_selector("#overview:not([hidden])")


def test_a_decision_is_told_with_its_costs(open_page: Open) -> None:
    page = open_page()
    page.locator("#decisions tr", has_text="200").locator("a[href^='#/request/']").first.click()
    page.locator("#detail", has_text="Why this pod").wait_for()
    text = page.locator("#detail").inner_text()
    assert "Sent to" in text
    assert "own_prefill" in text


def test_what_is_unknown_says_so(open_page: Open, demo: Demo) -> None:
    page = open_page("/#/pod/nobody")
    page.locator("#detail", has_text="There is no such pod now").wait_for()
    page.goto(f"{demo.stack.ops_url}/#/user/bob")
    page.locator("#detail", has_text="exceeded RPM").wait_for()
    for kind, wanted in (
        ("model/qwen2-7b", "Prefix cache"),
        ("pod/qwen2-7b-0", "Learned speed"),
        ("settings", "redis.url"),
    ):
        page.goto(f"{demo.stack.ops_url}/#/{kind}")
        page.locator("#detail", has_text=wanted).wait_for()


def test_the_playground_streams_and_tells_why(open_page: Open) -> None:
    page = open_page()
    page.wait_for_selector("#play-model option", state="attached")
    page.fill("#playground [name=prompt]", "Tell me something long.")
    page.fill("#playground [name=user]", "alice")
    page.select_option("#playground [name=strategy]", "least-request")
    page.evaluate(
        """() => { window.lengths = new Set(); new MutationObserver(() =>
        window.lengths.add(document.querySelector('#answer').textContent.length))
        .observe(document.querySelector('#answer'), { childList: true, characterData: true, subtree: true }); }"""
    )
    page.click("#playground button")
    page.locator("#answer-told", has_text="first token after").wait_for()
    page.locator("#answer-story", has_text="Answered with 200").wait_for()
    # It came in parts.
    assert page.evaluate("window.lengths.size") > 5
    story = page.locator("#answer-story").inner_text()
    assert "least-request" in story
    assert "alice" in story


def test_who_asks_too_often_sees_why(open_page: Open) -> None:
    page = open_page()
    page.wait_for_selector("#play-model option", state="attached")
    page.fill("#playground [name=user]", "bob")
    for _ in range(4):
        page.click("#playground button")
        page.wait_for_selector("#playground button:not([disabled])")
    page.locator("#answer-told", has_text="429").wait_for()
    page.locator("#answer-story", has_text="Refused with 429").wait_for()


def test_everything_is_reached_by_keyboard_and_the_focus_stays(open_page: Open) -> None:
    page = open_page()
    page.wait_for_selector(".tile")
    page.focus(f".tile[data-pod='{SICK}']")
    page.wait_for_timeout(2500)
    assert page.evaluate("document.activeElement.dataset.pod") == SICK
    page.keyboard.press("Enter")
    page.locator("#detail h2", has_text=f"Pod {SICK}").wait_for()
    page.focus("#pause")
    page.keyboard.press("Space")
    assert page.get_attribute("#pause", "aria-pressed") == "true"


@pytest.mark.parametrize("path", ["/", "/#/model/llama-3-8b", "/#/pod/llama-3-8b-0", "/#/user/bob", "/#/settings"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(open_page: Open, path: str, scheme: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    # Axe is put into the page, which its own policy forbids.
    page = open_page(path, scheme=scheme, bypass_csp=True)
    page.locator("main", has_text="llama-3-8b").wait_for()
    page.wait_for_timeout(1500)
    found = Axe().run(page).response["violations"]
    serious = [
        (one["id"], one["nodes"][0]["html"][:200], one["nodes"][0].get("failureSummary", "")[:300])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]
    assert serious == []


def test_a_killed_pod_turns_red(open_page: Open, demo: Demo) -> None:
    page = open_page()
    page.wait_for_selector(f".tile.ok[data-pod='{SICK}']")
    began = time.monotonic()
    demo.run(demo.stack.pods[SICK].stop(signal.SIGKILL))
    page.wait_for_selector(f".tile.bad[data-pod='{SICK}']", timeout=20_000)
    took_seconds = time.monotonic() - began
    assert took_seconds < RED_WITHIN_SECONDS


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pictures(open_page: Open, width: int, scheme: str) -> None:
    page = open_page(width=width, scheme=scheme)
    page.wait_for_selector("#decisions tr")
    page.wait_for_timeout(4000)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    page.screenshot(path=IMAGES / f"live-{width}-{scheme}.png", full_page=width == 1440)
