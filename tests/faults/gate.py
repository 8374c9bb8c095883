"""A gate before the real Elasticsearch: it lets `_bulk` requests through, and spoils them or their answers.

What it refuses never reaches the index; what it lets through is applied, whatever the client is told.
"""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import httpx

BUSY = {"type": "es_rejected_execution_exception", "reason": "rejected execution of primary operation"}
BREAKER = {"type": "circuit_breaking_exception", "reason": "[parent] Data too large"}
REFUSED = {"type": "document_parsing_exception", "reason": "the gate does not like this one"}
THERE = {"type": "version_conflict_engine_exception", "reason": "document already exists"}


class Gate:
    """Listens on a free port and forwards to ``url``; an async context manager. ``mode`` says what it does.

    | mode | what |
    |---|---|
    | open | nothing |
    | busy 30, busy 100 | 429 on that part of the items, at random |
    | 429, 503 | the whole request |
    | short | applied; half of the answer, then the connection ends |
    | lost | applied; no answer |
    | mixed | applied items told as 409, some busy; 413 for a body above ``limit`` bytes |

    In every mode a document for which ``refused`` is true gets 400, and is never let through.
    """

    def __init__(self, url: str, chance: random.Random, refused: Callable[[Any], bool]) -> None:
        self._url = url
        self._chance = chance
        self._refused = refused
        self.mode = "open"
        self.limit = 3000
        self.seen: Counter[str] = Counter()
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._http = httpx.AsyncClient(base_url=self._url, timeout=60, trust_env=False)
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._http.aclose()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        try:
            with suppress(OSError, asyncio.IncompleteReadError, httpx.TransportError):
                while await self._exchange(reader, writer):
                    pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer; False when the connection ends with it."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        _, target, _ = head[0].split(" ", 2)
        fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])}
        body = await reader.readexactly(int(fields.get("content-length", "0")))
        status, answer = await self._judge(target, body)
        self.seen[self.mode] += 1
        if self.mode == "lost":
            return False
        line = (
            f"HTTP/1.1 {status} x\r\ncontent-type: application/json\r\ncontent-length: {len(answer)}\r\n\r\n"
        )
        writer.write(line.encode() + (answer[: len(answer) // 2] if self.mode == "short" else answer))
        await writer.drain()
        return self.mode != "short"

    async def _judge(self, target: str, body: bytes) -> tuple[int, bytes]:
        if self.mode in ("429", "503"):
            error = BREAKER if self.mode == "429" else {"type": "unavailable", "reason": "not now"}
            return int(self.mode), json.dumps({"error": error, "status": int(self.mode)}).encode()
        if self.mode == "mixed" and len(body) > self.limit:
            return 413, b""
        lines = body.removesuffix(b"\n").split(b"\n")
        pairs = list(zip(lines[::2], lines[1::2], strict=True))
        verdicts = [self._verdict(document) for _, document in pairs]
        passed = [pair for pair, verdict in zip(pairs, verdicts, strict=True) if verdict is None]
        items = iter(await self._forward(target, passed))
        told = [verdict or self._told(next(items)) for verdict in verdicts]
        failed = any("error" in next(iter(item.values())) for item in told)
        return 200, json.dumps({"errors": failed, "items": told}, separators=(",", ":")).encode()

    def _verdict(self, document: bytes) -> dict[str, Any] | None:
        """What the gate itself says of a document; None: let it through."""
        if self._refused(json.loads(document)):
            return {"create": {"status": 400, "error": REFUSED}}
        share = {"busy 30": 0.3, "busy 100": 1.0, "mixed": 0.2}.get(self.mode, 0)
        return {"create": {"status": 429, "error": BUSY}} if self._chance.random() < share else None

    def _told(self, item: dict[str, Any]) -> dict[str, Any]:
        """In "mixed", what was created is sometimes told as having been there."""
        is_new = item["create"]["status"] == 201
        if self.mode == "mixed" and is_new and self._chance.random() < 0.3:
            return {"create": {"status": 409, "error": THERE}}
        return item

    async def _forward(self, target: str, pairs: list[tuple[bytes, bytes]]) -> list[dict[str, Any]]:
        if not pairs:
            return []
        body = b"".join(action + b"\n" + document + b"\n" for action, document in pairs)
        answer = await self._http.post(target, content=body, headers={"content-type": "application/x-ndjson"})
        answer.raise_for_status()
        return list(answer.json()["items"])
