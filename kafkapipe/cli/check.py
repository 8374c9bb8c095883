"""kafkapipe check CONFIG."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .context import in_loop, settings

if TYPE_CHECKING:
    from ..check import Item


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="As a JSON object.")
@in_loop
async def check(config: Path, as_json: bool) -> int:
    """Validate CONFIG, then try every server and port that it names.

    Nothing is changed. Exit code 0: all works; 1: something does not, and what to do about it is printed;
    2: the file is wrong.
    """
    from ..config import load  # noqa: PLC0415 - the help needs no models

    loaded = load(config, bootstrap=settings().bootstrap)
    from ..check import check as try_all  # noqa: PLC0415 - a wrong file needs no clients

    items = await try_all(loaded)
    ok = all(item.ok for item in items)
    if as_json:
        document = {"ok": ok, "items": [asdict(item) for item in items]}
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        _show(config, items)
    return 0 if ok else 1


def _show(config: Path, items: list["Item"]) -> None:
    click.echo(f"{click.style('ok    ', fg='green')}  {config}: valid")
    for item in items:
        mark = click.style("ok    ", fg="green") if item.ok else click.style("failed", fg="red")
        click.echo(f"{mark}  {item.name}: {item.detail}")
        if item.advice:
            click.echo(f"        -> {item.advice}")
