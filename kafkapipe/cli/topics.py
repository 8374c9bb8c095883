"""kafkapipe topics create|list|describe|delete; those that change topics are in topics_change.py."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

from ..errors import KafkaPipeError, RejectedError
from ..topics import validate_topic_name
from .cluster import admin_client, json_option, read_settings
from .context import in_loop
from .topics_change import alter, apply

if TYPE_CHECKING:
    from ..admin import TopicDescription, TopicInfo


def _name(ctx: click.Context, param: click.Parameter, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
    for name in (value,) if isinstance(value, str) else value:
        try:
            validate_topic_name(name)
        except RejectedError as error:
            raise click.BadParameter(error.message) from None
    return value


@click.group()
def topics() -> None:
    """Create, list, describe, change and delete topics."""


topics.add_command(alter)
topics.add_command(apply)


@topics.command()
@click.argument("name", callback=_name)
@click.option("--partitions", type=click.IntRange(1), default=1, show_default=True, help="Number of them.")
@click.option(
    "--replication-factor", type=click.IntRange(1), default=1, show_default=True,
    help="Brokers that hold each partition.",
)  # fmt: skip
@click.option(
    "--config", multiple=True, callback=read_settings, metavar="NAME=VALUE",
    help="A setting of the topic, like retention.ms=86400000; may be given again.",
)  # fmt: skip
@json_option
@in_loop
async def create(
    name: str, partitions: int, replication_factor: int, config: dict[str, str], as_json: bool
) -> None:
    """Make the topic NAME: letters, digits, '.', '_' and '-', at most 249."""
    async with admin_client() as admin:
        await admin.create_topic(name, partitions, replication_factor, config)
    if as_json:
        made = {"name": name, "partitions": partitions, "replication_factor": replication_factor}
        click.echo(json.dumps({**made, "config": config}, indent=2))
    else:
        click.echo(f"created {name}: {_size(partitions, replication_factor)}")


@topics.command("list")
@click.option("--internal", is_flag=True, help="Kafka's own topics, too.")
@json_option
@in_loop
async def list_(internal: bool, as_json: bool) -> None:
    """List the topics of the cluster."""
    async with admin_client() as admin:
        found = await admin.list_topics(internal=internal)
    if as_json:
        click.echo(json.dumps([asdict(topic) for topic in found], indent=2))
    elif not found:
        click.echo("there are no topics")
    else:
        Console().print(_listed(found))


@topics.command()
@click.argument("name")
@json_option
@in_loop
async def describe(name: str, as_json: bool) -> None:
    """Show partitions, leaders, replicas and settings of the topic NAME."""
    async with admin_client() as admin:
        found = await admin.describe_topic(name)
    if as_json:
        click.echo(json.dumps(asdict(found), indent=2))
    else:
        _show(found)


@topics.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...", callback=_name)
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@in_loop
async def delete(names: tuple[str, ...], yes: bool, as_json: bool) -> int:
    """Delete topics, and all records in them."""
    if not yes:
        click.confirm(f"Delete {', '.join(names)} and all records in them?", abort=True, err=True)
    deleted = []
    async with admin_client() as admin:
        for name in names:
            try:
                await admin.delete_topic(name)
            except KafkaPipeError as error:
                click.echo(f"kafkapipe: {error.message}", err=True)
            else:
                deleted.append(name)
    click.echo(
        json.dumps({"deleted": deleted}) if as_json else "\n".join(f"deleted {name}" for name in deleted)
    )
    return 0 if len(deleted) == len(names) else 1


def _size(partitions: int, replication_factor: int) -> str:
    noun = "partition" if partitions == 1 else "partitions"
    return f"{partitions} {noun}, replication factor {replication_factor}"


def _table(*columns: str) -> Table:
    table = Table(*columns)
    for column in table.columns[1:]:
        column.justify = "right"
    return table


def _listed(found: Sequence["TopicInfo"]) -> Table:
    table = _table("topic", "partitions", "replication factor")
    for topic in found:
        table.add_row(topic.name, str(topic.partitions), str(topic.replication_factor))
    return table


def _show(found: "TopicDescription") -> None:
    table = _table("partition", "leader", "replicas", "in sync")
    for each in found.partitions:
        leader = "none" if each.leader is None else str(each.leader)
        table.add_row(str(each.partition), leader, _numbers(each.replicas), _numbers(each.in_sync))
    settings_table = Table("setting of this topic", "value")
    for name, value in found.overrides.items():
        settings_table.add_row(name, value)
    console = Console()
    console.print(f"{found.name}: {_size(len(found.partitions), found.replication_factor)}", highlight=False)
    console.print(table)
    if found.overrides:
        console.print(settings_table)


def _numbers(values: Sequence[int]) -> str:
    return ", ".join(map(str, values))
