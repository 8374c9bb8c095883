"""A TCP proxy that does what networks do: delay, trickle, swallow, cut, reset, close slowly, refuse.

What is wrong is decided per chunk, so that a fault begins and ends for connections that are open, too.
"""

import asyncio
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

_CHUNK = 16 * 1024


@dataclass(frozen=True)
class Faults:
    """What is wrong with the line. All of it off: a proxy that nobody notices."""

    refuse: bool = False
    """Nobody listens; connections that are open are reset."""
    black_hole: bool = False
    """Connections are taken, and nothing goes through, in either direction."""
    latency_s: float = 0.0
    """Before each chunk, in both directions."""
    bytes_per_s: int = 0
    """In each direction of each connection; 0: as fast as it goes."""
    cut_request_at: int = 0
    """The connection is reset when the client has sent so many bytes; 0: never."""
    cut_answer_at: int = 0
    """The connection is reset when the server has answered so many bytes; 0: never."""
    slow_close_s: float = 0.0
    """How long the client's side stays open after the server has closed its own."""


class Proxy:
    """Listens on a free port of loopback and forwards to ``port``; an async context manager.

    ``rewrite`` replaces bytes by others of the same length in what the server answers: addresses that would
    lead a client past the proxy.
    """

    def __init__(self, port: int, rewrite: tuple[bytes, bytes] = (b"", b"")) -> None:
        assert len(rewrite[0]) == len(rewrite[1]), "an answer keeps its length"
        self._target = port
        self.rewrite = rewrite
        self.port = 0
        self.faults = Faults()
        self.connections = 0
        self._passable = asyncio.Event()
        self._passable.set()
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.StreamWriter, asyncio.Task[None]] = {}

    async def __aenter__(self) -> Self:
        await self._listen()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tasks = list(self._open.values())
        await self.set(Faults(refuse=True))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, reuse_address=True)
        self.port = self._server.sockets[0].getsockname()[1]

    async def set(self, faults: Faults) -> None:
        """From now on this is wrong."""
        self.faults = faults
        (self._passable.clear if faults.black_hole else self._passable.set)()
        if faults.refuse and self._server:
            self._server.close()
            self._server = None
            for writer in list(self._open):
                _reset(writer)
        elif not faults.refuse and not self._server:
            await self._listen()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task
        self._open[writer] = task
        asking: asyncio.Task[None] | None = None
        back: asyncio.StreamWriter | None = None
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
            request = self._pump(reader, back, lambda: self.faults.cut_request_at, (b"", b""), writer)
            answer = self._pump(there, writer, lambda: self.faults.cut_answer_at, self.rewrite, writer)
            asking = asyncio.create_task(request)
            with suppress(OSError):
                await answer
            await asyncio.sleep(self.faults.slow_close_s)
        except OSError:
            _reset(writer)
        finally:
            if asking:
                asking.cancel()
            if back:
                back.close()
            self._open.pop(writer)
            writer.close()

    async def _pump(self, reader, writer, cut_at, rewrite, client) -> None:  # type: ignore[no-untyped-def]
        """Forward one direction until its end."""
        passed = 0
        with suppress(OSError):
            while data := await reader.read(_CHUNK):
                faults = self.faults
                await asyncio.sleep(faults.latency_s)
                if faults.bytes_per_s:
                    await asyncio.sleep(len(data) / faults.bytes_per_s)
                await self._passable.wait()
                passed += len(data)
                if cut_at() and passed >= cut_at():
                    writer.write(data[: len(data) - (passed - cut_at())])
                    await writer.drain()
                    _reset(client)
                    return
                writer.write(data.replace(*rewrite) if rewrite[0] else data)
                await writer.drain()
            if writer is not client and writer.can_write_eof():
                writer.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with a reset, not with an end of data."""
    sock = writer.get_extra_info("socket")
    if sock is not None:
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
