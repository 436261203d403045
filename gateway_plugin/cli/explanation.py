"""`gateway-plugin explain`: asks `/debug/route` of a running plugin and prints the answer as a table."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
from rich.console import Console
from rich.table import Table

_TIMEOUT_SECONDS = 5.0


class ExplainError(RuntimeError):
    """There is no explanation; the text says why."""


def fetch_explanation(url: str, body: bytes, headers: list[str], path: str, admin_token: str = "") -> dict[str, Any]:
    """The plugin's explanation of a request; raises ExplainError with the plugin's own words."""
    sent = {"content-type": "application/json"} | _authorization(admin_token)
    for header in headers:
        name, colon, value = header.partition(":")
        if not colon:
            raise ExplainError(f"-H {header!r}: a header is written name: value")
        sent[name.strip().lower()] = value.strip()
    return asyncio.run(_post(f"{url}/debug/route", body, sent, path))


def _authorization(admin_token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {admin_token}"} if admin_token else {}


async def _post(url: str, body: bytes, headers: dict[str, str], path: str) -> dict[str, Any]:
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(url, data=body, headers=headers, params={"path": path}) as answer,
        ):
            text = await answer.read()
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise ExplainError(f"no plugin answers at {url}: {str(error) or 'time is up'}") from None
    if answer.status != 200:
        raise ExplainError(f"{answer.status}: {_message(text)}")
    explanation: dict[str, Any] = json.loads(text)
    return explanation


def print_explanation(explanation: dict[str, Any]) -> None:
    """One line a candidate, best first, with the terms of its cost."""
    candidates = explanation["candidates"]
    console = Console()
    profile = f", profile {explanation['profile']}" if explanation["profile"] else ""
    console.print(
        f"model {explanation['model']}, strategy {explanation['strategy']}{profile}; about "
        f"{explanation['prompt_tokens']:.0f} prompt tokens, {explanation['output_tokens']:.0f} expected of the answer",
        highlight=False,
        soft_wrap=True,
    )
    if not candidates:
        return
    # A probe, and pods that are left out, have no terms.
    names: list[str] = next((list(candidate["terms"]) for candidate in candidates if candidate["terms"]), [])
    all_well = all(candidate["health"] == "closed" for candidate in candidates)
    table = Table("pod", "cached tokens", "cost", *(name.replace("_", " ") for name in names), show_edge=False)
    if not all_well:
        table.add_column("health")
    for column in table.columns:
        column.overflow = "fold"
    table.columns[0].no_wrap = True
    for candidate in candidates:
        numbers = [candidate["cost"], *(candidate["terms"].get(name) for name in names)]
        cells = ["?" if number is None else f"{number:.3g}" for number in numbers]
        cells += [] if all_well else [_health(candidate)]
        table.add_row(candidate["pod"], f"{candidate['matched_tokens']:.0f}", *cells)
    console.print(table)
    _print_learned(console, candidates)


def _print_learned(console: Console, candidates: list[dict[str, Any]]) -> None:
    """What is known of each pod, in words."""
    for candidate in candidates:
        if learned := candidate.get("learned"):
            words = "; ".join(f"{subject} {figure}" for subject, figure in learned.items())
            console.print(f"{candidate['pod']}: {words}", highlight=False, soft_wrap=True)


def _health(candidate: dict[str, Any]) -> str:
    words = {"closed": "well", "half_open": "to be probed", "open": "sick"}
    health = words.get(candidate["health"], candidate["health"])
    return health if candidate["place"] is not None else f"{health}, left out"


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return body[:200].decode("utf-8", "replace")
