"""`/docs`: what an API offers, as one plain page without anything from elsewhere."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from fastapi.responses import HTMLResponse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fastapi import FastAPI

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}"
    "code{font-family:ui-monospace,monospace}h2{font-size:1rem;margin:1.5rem 0 0}p{margin:.2rem 0}"
    "li{margin:.1rem 0}"
)


def add_docs_page(app: FastAPI) -> None:
    """Adds the page, which is made from the application's own OpenAPI document."""

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(page(app.openapi()))


def page(document: Mapping[str, Any]) -> str:
    """HTML."""
    title = escape(document["info"]["title"])
    lines = "\n".join(_operations(document))
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
        f"<h1>{title}</h1><p>{escape(document['info'].get('description', ''))}</p>"
        f'<p>For programs: <a href="/openapi.json">openapi.json</a></p>\n{lines}\n'
    )


def _operations(document: Mapping[str, Any]) -> Iterator[str]:
    for path, methods in document["paths"].items():
        for method, told in methods.items():
            yield f"<h2><code>{method.upper()} {escape(path)}</code></h2>"
            yield f"<p>{escape(told.get('description') or told.get('summary', ''))}</p><ul>"
            for parameter in told.get("parameters", ()):
                text = escape(parameter.get("description", parameter["in"]))
                yield f"<li><code>{escape(parameter['name'])}</code> {text}</li>"
            for status, answer in told.get("responses", {}).items():
                yield f"<li>{escape(status)}: {escape(answer.get('description', ''))}</li>"
            yield "</ul>"
