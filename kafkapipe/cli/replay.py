"""kafkapipe replay CONFIG PIPELINE --from X --to X."""

import asyncio
import json
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from .cluster import json_option
from .context import in_loop, settings
from .progress import PLAIN_EVERY_S

if TYPE_CHECKING:
    from ..replaying import ReplayProgress, ReplayResult

T = TypeVar("T")


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.argument("pipeline")
@click.option("--from", "start", required=True, metavar="X", help="Offset, time, earliest, latest, or -1h.")
@click.option("--to", "end", required=True, metavar="X", help="The same; this one is not replayed any more.")
@click.option("--partition", "partitions", type=int, multiple=True, help="Only this; may be given again.")
@click.option("--sink", metavar="NAME|FILE", help="That pipeline's sink, or that of a file with `sink:`.")
@click.option("--again", is_flag=True, help="Once more from the beginning, though it was done.")
@json_option
@in_loop
async def replay(
    *,
    config: Path,
    pipeline: str,
    start: str,
    end: str,
    partitions: tuple[int, ...],
    sink: str | None,
    again: bool,
    as_json: bool,
) -> int:
    """Send a range of PIPELINE's topics through it once more, without touching its group.

    What was interrupted goes on with the same command. A record that was replayed is not replayed again by
    the same command, unless --again is given. Documents have the ids of the first time; files are new ones,
    with .replay-DATE-TIME in their names.
    """
    from ..config import load  # noqa: PLC0415 - the help needs no models
    from ..replaying import replay as run  # noqa: PLC0415

    loaded = load(config, bootstrap=settings().bootstrap)
    with shown(pipeline) as show:
        replaying = run(
            loaded,
            pipeline,
            start=start,
            end=end,
            partitions=partitions or None,
            sink=sink,
            again=again,
            on_progress=show,
        )
        result = await until_interrupted(replaying)
    click.echo(json.dumps(_document(result), ensure_ascii=False, indent=2) if as_json else _summary(result))
    return 0 if result.finished else 1


async def until_interrupted(work: Coroutine[Any, Any, T]) -> T:
    """What the work gives; SIGINT and SIGTERM cancel it, and it drains."""
    from ..app import interrupted  # noqa: PLC0415 - the help needs no server

    task = asyncio.create_task(work)
    stop = asyncio.create_task(interrupted())
    both: set[asyncio.Task[Any]] = {task, stop}
    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    if not task.done():
        click.echo("kafkapipe: interrupted: what is under way is finished first", err=True)
        task.cancel()
    stop.cancel()
    return await task


@contextmanager
def shown(name: str) -> Iterator[Callable[["ReplayProgress"], None]]:
    """Shows progress on stderr: a bar on a terminal, elsewhere a line at most every five seconds."""
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    last = time.monotonic()
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(name, total=None)

        def show(now: "ReplayProgress") -> None:
            nonlocal last
            words = f"{name}: {now.state}" + (f": {now.reason}" if now.reason else "")
            bar.update(task, completed=now.done, total=now.total, description=words)
            if not console.is_terminal and time.monotonic() - last >= PLAIN_EVERY_S:
                last = time.monotonic()
                console.print(f"{words}: {now.done} of {now.total}", markup=False)

        yield show


def _document(result: "ReplayResult") -> dict[str, object]:
    parts = [
        {"topic": each.topic, "partition": each.partition, "start": each.start, "end": each.end}
        for each in result.partitions
    ]
    return {**asdict(result), "partitions": parts}


def _summary(result: "ReplayResult") -> str:
    where = f"{result.pipeline}: {result.sink}"
    if result.nothing_to_do:
        why = (
            "they were replayed before (--again replays them once more)"
            if result.partitions
            else "it is empty"
        )
        return f"{where}: nothing to do in that range: {why}"
    rejected = f", {result.rejected} rejected" if result.rejected else ""
    text = f"{where}: {result.delivered} of {result.read} records delivered{rejected}"
    return text if result.finished else f"{text}, then interrupted: the same command goes on"
