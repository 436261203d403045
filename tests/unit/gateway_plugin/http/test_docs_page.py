"""`/docs` shows what an API offers, and nothing of it comes from elsewhere."""

from __future__ import annotations

import httpx
from fastapi import Query

from gateway_plugin.http.error_responses import new_app


async def test_the_page_lists_operations_and_asks_nobody_else():
    app = new_app("a <title>", "what it is")

    @app.get("/things")
    async def things(limit: int = Query(5, description="<b>at most</b>")) -> list[str]:
        """All things."""
        return [str(limit)]

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api") as http:
        answer = await http.get("/docs")
        assert (await http.get("/redoc")).status_code == 404
    text = answer.text
    assert "a &lt;title&gt;" in text
    assert "GET /things" in text
    assert "All things." in text
    assert "&lt;b&gt;at most&lt;/b&gt;" in text
    assert "http://" not in text
    assert "https://" not in text
    assert "<script" not in text
