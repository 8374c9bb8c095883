"""kafkapipe demo [--once] [--light]."""

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..errors import KafkaPipeError
from .context import in_loop
from .progress import Progress

if TYPE_CHECKING:
    from ..app import App
    from ..demo import Report, Servers

LEFT_OUT = (
    "light: Kafka is a mock broker inside this process, files go to a local folder in place of HDFS, and "
    "there is no Elasticsearch; records live only as long as this command"
)


@click.command()
@click.option("--once", is_flag=True, help="Send events, check that they arrived exactly once, stop.")
@click.option("--light", is_flag=True, help="Without Java: a mock broker and local files.")
@click.option("--free-ports", is_flag=True, help="Free ports in place of 8080, 8083, 9092, 9870 and 9200.")
@click.option("--json", "as_json", is_flag=True, help="With --once: the report as JSON on stdout.")
@in_loop
async def demo(once: bool, light: bool, free_ports: bool, as_json: bool) -> int:
    """Run the colour example on servers of its own.

    Starts Kafka, HDFS and Elasticsearch (the local stack), creates the topic, runs page and pipelines,
    and prints what to open; Ctrl-C stops it all. With --once it sends events itself, waits until each is in
    HDFS and in Elasticsearch, compares them, and exits 0, or 1 when one is missing, doubled or changed.

    --once always uses free ports, and a data folder of its own, so it runs beside anything else.
    """
    if as_json and not once:
        raise click.UsageError("--json is the report of --once")
    console = Console(stderr=as_json, soft_wrap=True, highlight=False)
    if light:
        console.print(LEFT_OUT, style="yellow")
    return await (_once(console, light, as_json) if once else _stay(console, light, free_ports))


@asynccontextmanager
async def _servers(*, once: bool, light: bool, free_ports: bool = False) -> AsyncIterator["Servers"]:
    from ..demo import light_servers, real_servers  # noqa: PLC0415 - the help needs no servers

    if not light:
        with Progress() as progress:
            async with real_servers(progress, once=once, free_ports=free_ports) as servers:
                yield servers
    elif once:
        with tempfile.TemporaryDirectory(prefix="kafkapipe-demo-") as folder:
            async with light_servers(Path(folder)) as servers:
                yield servers
    else:  # the files stay, to be looked at
        async with light_servers(Path(tempfile.mkdtemp(prefix="kafkapipe-demo-"))) as servers:
            yield servers


# ---- until Ctrl-C


async def _stay(console: Console, light: bool, free_ports: bool) -> int:
    from ..demo import require_ports  # noqa: PLC0415

    try:
        if not free_ports:
            await require_ports()
        return await _until_interrupted(console, light, free_ports)
    except KafkaPipeError as error:
        if error.code != "EADDRINUSE":
            raise
        taken = error.message.partition(": stop")[0]
        advice = "stop what listens there, or let the demo choose: kafkapipe demo --free-ports"
        raise KafkaPipeError(f"{taken}: {advice}", op=error.op, code=error.code) from None


async def _until_interrupted(console: Console, light: bool, free_ports: bool) -> int:
    from ..app import App, interrupted  # noqa: PLC0415
    from ..demo import configuration, ready  # noqa: PLC0415

    async with _servers(once=False, light=light, free_ports=free_ports) as servers:
        await servers.create_topics()
        stop = asyncio.create_task(interrupted())
        config = configuration(servers, once=False, free_ports=free_ports)
        async with servers.trail() as trail, App(config, around=trail.around) as app:
            starting = asyncio.create_task(ready(app))
            await asyncio.wait({starting, stop}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                _show_places(console, app, servers)
                await stop
            starting.cancel()
            console.print("\nstopping: files are published, offsets committed")
    return 0


def _show_places(console: Console, app: "App", servers: "Servers") -> None:
    assert app.collector_url
    curl = f"curl '{app.collector_url}/api/select?color=red&user=홍길동'"
    rows = [("the page, in a browser", f"{app.collector_url}/"), ("or a click from a shell", curl)]
    if servers.stack:
        hdfs, search = servers.stack.webhdfs_url, servers.stack.search_url
        rows += [
            ("files on HDFS", f"curl '{hdfs}/webhdfs/v1/data?op=LISTSTATUS'"),
            ("one of them", f"curl -L '{hdfs}/webhdfs/v1/data/NAME?op=OPEN'"),
            ("documents", f"curl '{search}/kafka-to-es/_search?size=3'"),
        ]
    else:
        rows.append(("files", f"{servers.folder}"))
    rows += [("is all well", f"{app.management_url}/readyz"), ("metrics", f"{app.management_url}/metrics")]
    for what, where in rows:
        console.print(f"[bold]{what:<24}[/bold] {escape(where)}")
    console.print("A file is published at 10 records or after 30 s. Ctrl-C stops everything.")


# ---- --once


async def _once(console: Console, light: bool, as_json: bool) -> int:
    from ..demo import Report, run_once  # noqa: PLC0415

    report = Report()
    with report.stage("in all"):
        async with AsyncExitStack() as exits:
            with report.stage("start the servers"):
                servers = await exits.enter_async_context(_servers(once=True, light=light))
            await run_once(servers, report)
            with report.stage("stop the servers"):
                await exits.aclose()
    if as_json:
        click.echo(json.dumps(asdict(report), indent=2, ensure_ascii=False))
    else:
        _show(console, report)
    return 0 if report.complete else 1


def _show(console: Console, report: "Report") -> None:
    files = "files" if report.documents is None else "hdfs dfs -ls -R /data"
    console.print(f"\n[bold]{files}[/bold]\n{escape(report.listing)}")
    console.print(f"\n[bold]{report.lines}[/bold] lines in files")
    if report.documents is not None:
        console.print(f"[bold]{report.documents}[/bold] documents in the index kafka-to-es")
    for name, document in report.samples.items():
        console.print(f"  {name}  {escape(json.dumps(document, ensure_ascii=False))}")
    table = Table(box=None, header_style="bold")
    table.add_column("stage")
    table.add_column("seconds", justify="right")
    for name, seconds in report.stages.items():
        table.add_row(name, f"{seconds:.2f}")
    console.print("", table, "", sep="\n")
    for problem in report.problems:
        console.print(f"[red]wrong:[/red] {escape(problem)}")
    if report.complete:
        files = "in a file, byte for byte"
        where = files if report.documents is None else "in Elasticsearch and on HDFS, there byte for byte"
        console.print(f"[green]ok:[/green] {report.events} events, each exactly once {where}")
