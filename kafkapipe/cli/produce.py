"""kafkapipe produce TOPIC [FILE]."""

import asyncio
import os
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, BinaryIO

import click
from rich.console import Console
from rich.progress import Progress

from .._threads import Threads
from ..errors import KafkaPipeError
from .context import in_loop, settings

if TYPE_CHECKING:
    from .._core import BatchResult

CHUNK_BYTES = 512 * 1024
"""Most that is read at once; the next is read when the brokers have its lines."""
_MOMENT = 0.1  # that what is queued has when Ctrl-C ends the command


@click.command()
@click.argument("topic")
@click.argument("file", type=click.File("rb"), default="-")
@in_loop
async def produce(topic: str, file: BinaryIO) -> None:
    """Send each line of FILE, or of stdin, to TOPIC as one record; return when the brokers have all of them.

    A line goes when it is there, also when more may follow. Lines go as they are, without the newline; empty
    ones are skipped. Exit code 1 when one was not sent.
    """
    from ..producer import Producer  # noqa: PLC0415 - the help needs no client

    sent = 0
    console = Console(stderr=True)
    async with Producer(settings().cluster) as producer:
        with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
            task = progress.add_task(topic, total=_size(file))
            try:
                async for lines, size in _batches(file.fileno()):
                    _require_all(await producer.send_many(topic, lines), sent)
                    sent += len(lines)
                    progress.advance(task, size)
            except asyncio.CancelledError:
                await producer.close(_MOMENT)
                raise
    click.echo(f"{topic}: {sent} records")


async def _batches(descriptor: int) -> AsyncIterator[tuple[list[bytes], int]]:
    """The lines of each chunk, and how many bytes were read for them.

    The descriptor is read in a thread and without Python's buffers: a thread that still waits for a terminal
    would hold their lock at exit.
    """
    threads, rest = Threads(), b""
    while chunk := await threads.run(os.read, descriptor, CHUNK_BYTES):
        *lines, rest = (rest + chunk).split(b"\n")
        if batch := _records(lines):
            yield batch, len(chunk)
    if batch := _records([rest]):
        yield batch, 0


def _records(lines: list[bytes]) -> list[bytes]:
    return [text for line in lines if (text := line.removesuffix(b"\r"))]


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
