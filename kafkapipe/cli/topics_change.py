"""kafkapipe topics alter|apply."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .cluster import admin_client, json_option, read_settings
from .context import in_loop

if TYPE_CHECKING:
    from ..plan import Plan

_timeout = click.option(
    "--timeout", type=click.FloatRange(0.1), default=30.0, show_default=True, help="Seconds for each step."
)


@click.command()
@click.argument("name")
@click.option("--partitions", type=click.IntRange(1), help="How many it is to have: more than now.")
@click.option(
    "--config", multiple=True, callback=read_settings, metavar="NAME=VALUE",
    help="A setting to change, like retention.ms=86400000; may be given again.",
)  # fmt: skip
@click.option("--unset", multiple=True, metavar="NAME", help="A setting to put back to the default.")
@_timeout
@json_option
@in_loop
async def alter(
    *,
    name: str,
    partitions: int | None,
    config: dict[str, str],
    unset: tuple[str, ...],
    timeout: float,  # noqa: ASYNC109 - goes to the broker
    as_json: bool,
) -> None:
    """Give the topic NAME more partitions, or other settings; all other settings stay."""
    changes: dict[str, str | None] = {**config, **dict.fromkeys(unset)}
    if partitions is None and not changes:
        raise click.UsageError("say what is to change: --partitions, --config or --unset")
    async with admin_client() as admin:
        if partitions is not None:
            await admin.create_partitions(name, partitions, timeout=timeout)
        if changes:
            await admin.alter_config(name, changes, timeout=timeout)
    if as_json:
        click.echo(json.dumps({"name": name, "partitions": partitions, "config": changes}, indent=2))
        return
    if partitions is not None:
        click.echo(f"{name}: {_count(partitions, 'partition')}")
    for setting, value in changes.items():
        click.echo(f"{name}: {setting} = {'the default' if value is None else value}")


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Only show the plan.")
@click.option("--delete", is_flag=True, help="Delete the topics that FILE declares as `state: absent`.")
@_timeout
@json_option
@in_loop
async def apply(
    *,
    file: Path,
    dry_run: bool,
    delete: bool,
    timeout: float,  # noqa: ASYNC109 - goes to the broker
    as_json: bool,
) -> None:
    """Make topics what FILE declares: create them, add partitions, change settings.

    Topics and settings that FILE does not name are left alone. Doing it again changes nothing.

    \b
    topics:
      colors: {partitions: 3, replication_factor: 1, config: {retention.ms: 86400000}}
      old-colors: {state: absent}
    """
    from .. import plan as plans  # noqa: PLC0415 - the help needs no models

    declared = plans.load(file)
    async with admin_client() as admin:
        cluster = await plans.read_cluster(admin, declared, timeout=timeout)
        plan = plans.make(declared, cluster, delete=delete)
        if not as_json:
            _show(plan)
        if not dry_run:
            await plans.apply(admin, plan, timeout=timeout)
    if as_json:
        document = {"changes": [asdict(each) for each in plan.changes], "kept": plan.kept}
        click.echo(json.dumps({**document, "applied": not dry_run}, indent=2))
    elif plan:
        count = _count(len(plan.changes), "change")
        click.echo(f"{count} to be made" if dry_run else f"{count} made")


def _show(plan: "Plan") -> None:
    for change in plan.changes:
        click.echo(f"{change.action} {change.topic}{': ' if change.details else ''}{change.details}")
    for name in plan.kept:
        click.echo(f"keep {name}: it is declared absent; --delete deletes it and its records")
    if not plan:
        click.echo("nothing to change")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
