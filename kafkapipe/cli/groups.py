"""kafkapipe groups list|describe|reset|delete."""

import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from ..errors import KafkaPipeError
from .cluster import admin_client, json_option, show_table
from .context import in_loop

if TYPE_CHECKING:
    from ..groups import GroupDescription, OffsetReset


def _where(ctx: click.Context, param: click.Parameter, value: str | None) -> str | int | datetime | None:
    """earliest, latest, an offset, a time, or an age like -1h."""
    from .._units import parse_duration  # noqa: PLC0415 - the help needs no models

    if value is None or value in ("earliest", "latest"):
        return value
    if value.isascii() and value.isdecimal():
        return int(value)
    try:
        if value.startswith("-"):
            return datetime.now(UTC) - timedelta(milliseconds=parse_duration(value[1:]))
        return datetime.fromisoformat(value).astimezone()
    except (ValueError, OverflowError):
        raise click.BadParameter(
            "must be earliest, latest, an offset, a time like 2026-01-31T09:00 or an age like -1h, not "
            f"{value!r}"
        ) from None


def _topics(
    ctx: click.Context, param: click.Parameter, value: tuple[str, ...]
) -> list[str | tuple[str, int]] | None:
    """``t`` is a topic, ``t:0,2`` two of its partitions; None when there are none."""
    found: list[str | tuple[str, int]] = []
    for text in value:
        topic, colon, numbers = text.partition(":")
        try:
            found += [(topic, int(number)) for number in numbers.split(",")] if colon else [topic]
        except ValueError:
            raise click.BadParameter(f"must be TOPIC or TOPIC:PARTITION,..., not {text!r}") from None
    return found or None


@click.group()
def groups() -> None:
    """List, describe, reset and delete consumer groups."""


@groups.command("list")
@json_option
@in_loop
async def list_(as_json: bool) -> None:
    """List the consumer groups of the cluster."""
    async with admin_client() as admin:
        found = await admin.list_groups()
    if as_json:
        click.echo(json.dumps([asdict(group) for group in found], indent=2, ensure_ascii=False))
    elif not found:
        click.echo("there are no groups")
    else:
        show_table(("group", "state"), [(group.name, group.state) for group in found])


@groups.command()
@click.argument("name")
@json_option
@in_loop
async def describe(name: str, as_json: bool) -> None:
    """Show the members, offsets and lag of the group NAME."""
    async with admin_client() as admin:
        found = await admin.describe_group(name)
    if as_json:
        offsets = [{**asdict(each), "lag": each.lag} for each in found.offsets]
        document = {**asdict(found), "offsets": offsets, "lag": found.lag}
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        _show(found)


def _show(found: "GroupDescription") -> None:
    assignor = f", {found.assignor}" if found.assignor else ""
    click.echo(f"{found.name}: {found.state}{assignor}, coordinator {found.coordinator}, lag {found.lag}")
    if found.members:
        members = [(each.client, each.id, each.host, len(each.partitions)) for each in found.members]
        show_table(("client", "member", "host", "partitions"), members, numbers=("partitions",))
    numbers = ("partition", "committed", "end", "lag")
    rows = [(o.topic, o.partition, o.committed, o.end, o.lag, o.member) for o in found.offsets]
    show_table(("topic", *numbers, "member"), rows, numbers=numbers)


@groups.command()
@click.argument("name")
@click.option("--to", callback=_where, metavar="X", help="earliest, latest, an offset, a time, or -1h.")
@click.option("--shift", type=int, help="So many records on; a negative number goes back.")
@click.option(
    "--topic", "topics", multiple=True, callback=_topics, metavar="TOPIC[:PARTITION,...]",
    help="Only this one; may be given again (default: all that the group has offsets for).",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@json_option
@in_loop
async def reset(
    *,
    name: str,
    to: str | int | datetime | None,
    shift: int | None,
    topics: list[str | tuple[str, int]] | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Let the group NAME, which must have no members, go on from elsewhere.

    A time is the first record of that time or later; an offset outside a partition is its nearest end.
    """
    if (to is None) == (shift is None):
        raise click.UsageError("say where: either --to or --shift")
    async with admin_client() as admin:
        resets = await admin.reset_offsets(name, to, shift=shift, topics=topics, dry_run=dry_run)
    if as_json:
        click.echo(json.dumps([asdict(each) for each in resets], indent=2, ensure_ascii=False))
    else:
        _show_resets(resets, dry_run)


def _show_resets(resets: list["OffsetReset"], dry_run: bool) -> None:
    numbers = ("partition", "from", "to")
    rows = [(each.topic, each.partition, each.before, each.after) for each in resets]
    show_table(("topic", *numbers), rows, numbers=numbers)
    if dry_run:
        click.echo("nothing was changed")


@groups.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@in_loop
async def delete(names: tuple[str, ...], yes: bool, as_json: bool) -> int:
    """Delete groups that have no members, and their offsets."""
    if not yes:
        click.confirm(f"Delete {', '.join(names)} and all their offsets?", abort=True, err=True)
    deleted = []
    async with admin_client() as admin:
        for name in names:
            try:
                await admin.delete_group(name)
            except KafkaPipeError as error:
                click.echo(f"kafkapipe: {error.message}", err=True)
            else:
                deleted.append(name)
    if as_json:
        click.echo(json.dumps({"deleted": deleted}, ensure_ascii=False))
    for name in deleted if not as_json else ():
        click.echo(f"deleted {name}")
    return 0 if len(deleted) == len(names) else 1
