"""kafkapipe stack up|down|status|wipe."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

import click
from rich.console import Console
from rich.table import Table

from ..stack import COMPONENTS, ProcessInfo, Stack
from .context import in_loop
from .progress import Progress

F = TypeVar("F", bound=Callable[..., object])
_COLOURS = {"ready": "green", "paused": "yellow", "not ready": "yellow", "stopped": "dim"}
_PORT = click.IntRange(0, 65535)


def _components(ctx: click.Context, param: click.Parameter, value: str) -> tuple[str, ...]:
    names = tuple(part.strip() for part in value.split(",") if part.strip())
    for name in names:
        if name not in COMPONENTS:
            raise click.BadParameter(f"there is no {name!r}; choose from {','.join(COMPONENTS)}")
    return names or COMPONENTS


def _common(function: F) -> F:
    """The options that every command of the group takes."""
    everything = ",".join(COMPONENTS)
    for option in (
        click.option("--json", "as_json", is_flag=True, help="The result as JSON on stdout."),
        click.option(
            "--data", type=click.Path(path_type=Path), metavar="DIR",
            help="Where the data live (default: stack in KAFKAPIPE_HOME).",
        ),
        click.option(
            "--only", default=everything, show_default=True, metavar="NAMES", callback=_components,
            help="Some of the servers.",
        ),
    ):  # fmt: skip
        function = option(function)
    return function


@click.group()
def stack() -> None:
    """Real Kafka, HDFS and Elasticsearch or OpenSearch on this machine.

    They run as child processes on loopback, from jars that Maven fetches once. Nothing is installed.
    """


@stack.command()
@_common
@click.option("--brokers", type=click.Choice(["1", "3"]), help="Size of the Kafka cluster (default: 1).")
@click.option(
    "--search",
    type=click.Choice(["elasticsearch", "opensearch"]),
    help="Which search server (default: what the data are of, else elasticsearch).",
)
@click.option("--kafka-port", type=_PORT, default=9092, show_default=True, help="Kafka; 0: a free one.")
@click.option("--hdfs-port", type=_PORT, default=9870, show_default=True, help="WebHDFS; 0: a free one.")
@click.option(
    "--search-port", type=_PORT, default=9200, show_default=True, help="Search server; 0: a free one."
)
@in_loop
async def up(
    *,
    brokers: str | None,
    only: tuple[str, ...],
    search: str | None,
    kafka_port: int,
    hdfs_port: int,
    search_port: int,
    data: Path | None,
    as_json: bool,
) -> None:
    """Start the servers that do not run yet, and leave them running."""
    with Progress() as progress:
        local = Stack(
            only=only,
            brokers=int(brokers) if brokers else None,
            search=search,
            kafka_port=kafka_port,
            hdfs_port=hdfs_port,
            search_port=search_port,
            data_dir=data,
            report=progress,
        )
        await local.up()
        processes = await local.processes()
    _show(processes, as_json)


@stack.command()
@_common
@in_loop
async def down(only: tuple[str, ...], data: Path | None, as_json: bool) -> None:
    """End the servers that `up` started, and nothing else. The data stay."""
    with Progress() as progress:
        ended = await Stack(only=only, data_dir=data, report=progress).down()
    if as_json:
        click.echo(json.dumps(ended))
    elif not ended:
        click.echo("nothing was running")


@stack.command()
@_common
@in_loop
async def status(only: tuple[str, ...], data: Path | None, as_json: bool) -> None:
    """Show each server: its state, process, address and memory."""
    _show(await Stack(only=only, data_dir=data).processes(), as_json)


@stack.command()
@_common
@click.option("--all", "jars", is_flag=True, help="Also the jars and class archives that all stacks share.")
@in_loop
async def wipe(only: tuple[str, ...], data: Path | None, as_json: bool, jars: bool) -> None:
    """End the servers and remove their data."""
    with Progress() as progress:
        local = Stack(only=only, data_dir=data, report=progress)
        await local.wipe(jars=jars)
    if as_json:
        click.echo(json.dumps({"removed": only, "data": str(local.data_dir), "jars": jars}))
    else:
        click.echo(f"removed the data of {', '.join(only)} in {local.data_dir}")


def _show(processes: Sequence[ProcessInfo], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps([asdict(process) for process in processes]))
    elif processes:
        Console(highlight=False).print(_table(processes))
    else:
        click.echo("there is no stack here: `kafkapipe stack up` starts one")


def _table(processes: Sequence[ProcessInfo]) -> Table:
    table = Table("server", "state", "pid", "address")
    table.add_column("memory", justify="right")
    for process in processes:
        table.add_row(
            process.name,
            f"[{_COLOURS[process.state]}]{process.state}[/]",
            str(process.pid or ""),
            process.address,
            f"{process.memory / 1e6:.0f} MB" if process.memory else "",
        )
    return table
