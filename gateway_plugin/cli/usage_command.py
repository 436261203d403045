"""`gateway-plugin usage`: who used what, from the usage ledger. Exit codes are those of `users_command`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway_plugin.cli.users_command import DEFAULT_URL, AdminToken, AsJson, Url, print_json, print_table, users_api

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_COUNTS = (
    "num_model_requests",
    "succeeded_requests",
    "failed_requests",
    "aborted_requests",
    "input_tokens",
    "input_cached_tokens",
    "output_tokens",
    "estimated_tokens",
)
_NAMES = {"user": "user_id", "group": "group_id", "model": "model"}


def usage(
    first: Annotated[str, typer.Option("--from", help="The first day, as 2026-11-01; else 30 days.")] = "",
    last: Annotated[str, typer.Option("--to", help="The last day; else today.")] = "",
    group_by: Annotated[str, typer.Option(help="Of user, group, model, separated by commas; else sums.")] = "user",
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    url: Url = DEFAULT_URL,
    admin_token: AdminToken = "",
    as_json: AsJson = False,
) -> None:
    """Show who used what, by day; the setting usage.ledger has it written down."""
    query = {"from": first, "to": last, "group_by": group_by}
    with users_api(url, admin_token) as api:
        if as_csv:
            typer.echo(api.used_csv(query), nl=False)
            return
        page = api.used(query)
    if as_json:
        print_json(page)
        return
    by = [name for name in _NAMES if name in group_by.split(",")]
    print_table(("day", *by, "requests", "ok", "failed", "aborted", *_TOKENS), list(_rows(page, by)))


_TOKENS = ("prompt", "cached", "output", "estimated", "cost")


def _rows(page: Mapping[str, Any], by: list[str]) -> Iterator[tuple[object, ...]]:
    for bucket in page["data"]:
        for one in bucket["results"]:
            cost = "" if one["cost"] is None else one["cost"]
            yield bucket["date"], *(one[_NAMES[name]] for name in by), *(one[name] for name in _COUNTS), cost
