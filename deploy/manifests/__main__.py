"""`python -m deploy.manifests render|check`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from deploy.manifests import chart, checks, fragment
from deploy.manifests.paths import XDS
from deploy.manifests.tools import ToolError

if TYPE_CHECKING:
    from pathlib import Path

cli = typer.Typer(no_args_is_help=True, add_completion=False, help="Make and check what stands in deploy/.")


@cli.command()
def render() -> None:
    """Write the kustomization's resources anew from the Helm chart, and the xDS templates from egctl's translation."""
    try:
        _write(chart.rendered_files())
        made = fragment.templates(checks.translate_files())
        _write({XDS / "templates" / name: text for name, text in made.items()})
    except ToolError as error:
        typer.echo(f"manifests: {error}", err=True)
        raise typer.Exit(1) from None


@cli.command()
def check() -> None:
    """Everything that can be checked with the tools and schemas that are here; 1 when something is wrong."""
    wrong = 0
    for name, result in checks.run():
        typer.echo(f"{result.mark:7} {name}{': ' + result.note if result.note else ''}")
        for line in result.errors:
            typer.echo(f"          {line}")
        wrong += len(result.errors)
    raise typer.Exit(1 if wrong else 0)


def _write(files: dict[Path, str]) -> None:
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")
    typer.echo(f"wrote {len(files)} files")


if __name__ == "__main__":
    cli()
