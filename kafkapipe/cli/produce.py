"""kafkapipe produce TOPIC [FILE]."""

import os
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO

import click
from rich.console import Console
from rich.progress import Progress

from ..errors import KafkaPipeError
from .context import in_loop, settings

if TYPE_CHECKING:
    from .._core import BatchResult

BATCH_LINES = 5000
"""Lines that are handed over at once; the next are read when the brokers have these."""


@click.command()
@click.argument("topic")
@click.argument("file", type=click.File("rb"), default="-")
@in_loop
async def produce(topic: str, file: BinaryIO) -> None:
    """Send each line of FILE, or of stdin, to TOPIC as one record; return when the brokers have all of them.

    Lines go as they are, without the newline; empty ones are skipped. Exit code 1 when one was not sent.
    """
    from ..producer import Producer  # noqa: PLC0415 - the help needs no client

    sent = 0
    console = Console(stderr=True)
    async with Producer(settings().cluster) as producer:
        with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
            task = progress.add_task(topic, total=_size(file))
            for lines in _batches(file):
                _require_all(await producer.send_many(topic, lines), sent)
                sent += len(lines)
                progress.advance(task, sum(map(len, lines)) + len(lines))
    click.echo(f"{topic}: {sent} records")


def _batches(file: BinaryIO) -> Iterator[list[bytes]]:
    lines = (line.removesuffix(b"\n").removesuffix(b"\r") for line in file)
    records = filter(None, lines)
    while batch := list(islice(records, BATCH_LINES)):
        yield batch


def _require_all(result: "BatchResult", before: int) -> None:
    if result.failed:
        index, error = result.failed[0]
        count = len(result.failed)
        text = f"{count} records were not sent, the first is number {before + index + 1}: {error.message}"
        raise KafkaPipeError(text, op="produce", code=error.code)


def _size(file: BinaryIO) -> int | None:
    """Bytes in a regular file; None for a pipe."""
    try:
        return os.fstat(file.fileno()).st_size or None
    except OSError:
        return None
