"""The live page: a frame that anybody may load, all of it from here; what it shows is behind the admin token."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from gateway_plugin.http.admin import is_public_to_operators
from gateway_plugin.http.error_responses import new_app
from gateway_plugin.http.live_page import STATIC, add_live_page, page

GATEWAY = "http://127.0.0.1:10080"
FILES = sorted(path.name for path in STATIC.iterdir() if path.suffix != ".jinja")
REFERENCE = re.compile(r"""(?:src|href)="(live/[^"]+)"|from "\./([^"]+)\"""")


@pytest.fixture
def client() -> Iterator[TestClient]:
    app = new_app("t", "", admin_token="secret", is_public=is_public_to_operators)
    add_live_page(app, GATEWAY, ("random", "least-request"))
    with TestClient(app) as opened:
        yield opened


def test_the_frame_and_its_files_need_no_token_and_everything_else_does(client: TestClient):
    assert client.get("/").status_code == 200
    assert {client.get(f"/live/{name}").status_code for name in FILES} == {200}
    assert client.get("/debug/live").status_code == 401


def test_every_file_that_is_asked_for_is_there(client: TestClient):
    texts = [client.get("/").text] + [client.get(f"/live/{name}").text for name in FILES if name.endswith(".js")]
    wanted = {(found[0] or f"live/{found[1]}") for text in texts for found in REFERENCE.findall(text)}
    assert len(wanted) > 8
    assert {name: client.get(f"/{name}").status_code for name in wanted} == dict.fromkeys(wanted, 200)


def test_browsers_fetch_nothing_from_elsewhere_but_the_gateway(client: TestClient):
    policy = client.get("/").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert f"connect-src 'self' {GATEWAY};" in policy
    own = [name for name in FILES if not name.startswith("uplot")]
    told = "".join(client.get(f"/live/{name}").text for name in own) + page("", ())
    assert set(re.findall(r"https?://[\w.]+", told)) == {"http://www.w3.org"}


def test_neither_template_nor_neighbours_are_served(client: TestClient):
    for name in ("live.html.jinja", "%2e%2e/live_page.py", "..%2flive_page.py", ""):
        assert client.get(f"/live/{name}").status_code == 404


def test_an_unchanged_file_is_not_sent_again(client: TestClient):
    first = client.get("/live/live.js")
    assert first.headers["cache-control"] == "no-cache"
    assert client.get("/live/live.js", headers={"if-none-match": first.headers["etag"]}).status_code == 304


def test_the_playground_is_there_only_with_a_gateway():
    assert 'id="playground"' in page(GATEWAY, ("random",))
    assert "<option>random</option>" in page(GATEWAY, ("random",))
    assert 'id="playground"' not in page("", ("random",))


def test_what_stands_in_the_frame_is_escaped():
    assert "<script>alert" not in page("http://x</script><script>alert(1)", ("<script>alert(1)</script>",))


def test_the_chart_library_comes_with_its_licence():
    assert "Permission is hereby granted" in (STATIC / "uplot.LICENSE.txt").read_text()
