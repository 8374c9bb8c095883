"""For the demo's page: where a click's event is by now, read back from Kafka, from files and from the index.

Only the demo puts this around its collector, on loopback. A collector of ``kafkapipe run`` tells no one more
than that an event was taken.
"""

import asyncio
import contextlib
import json
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx

from ._core import Batch
from ._evidence import FILE, read_hdfs_file
from .consumer import Consumer
from .errors import KafkaPipeError
from .stack import hdfs_listing

App = Callable[[Any, Any, Any], Awaitable[None]]
Found = dict[str, Any]

PATH = "/demo/trail/"
_SELECT = "/api/select"
_REMEMBERED = 500


@dataclass
class Click:
    """One event of the page and the places where it was found so far, by name."""

    color: str
    user: str
    found: dict[str, Found | None] = field(default_factory=dict)


Look = Callable[[int, int], Awaitable[Found | None]]
"""Looks for the record of this partition and offset in one place."""


class Trail:
    """Follows the events of the page from Kafka on, as an async context manager.

    :param places: where events go from Kafka, by the name that the page shows
    """

    def __init__(self, bootstrap: str, topic: str, partitions: int, places: dict[str, Look]) -> None:
        self._consumer = Consumer(bootstrap)
        self._topic = topic
        self._partitions = partitions
        self._places = places
        self._clicks: OrderedDict[str, Click] = OrderedDict()
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Trail":
        await self._consumer.start()
        partitions = [(self._topic, number) for number in range(self._partitions)]
        await self._consumer.assign(partitions, start="latest")
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._consumer.stop()
        if self._reading:
            await self._reading
        await self._consumer.close()

    async def _read(self) -> None:
        with contextlib.suppress(KafkaPipeError):  # a demo goes on without
            async for batch in self._consumer:
                self._meet(batch)

    def _meet(self, batch: Batch) -> None:
        for record in batch:
            try:
                event = json.loads(record.value or b"")
                same = (event["colorName"], event["userName"])
            except (ValueError, KeyError, TypeError):
                continue  # somebody else's
            for click in self._clicks.values():
                if (click.color, click.user) == same and not click.found["Kafka"]:
                    click.found["Kafka"] = {"partition": record.partition, "offset": record.offset}
                    break

    def around(self, app: App) -> App:
        """The collector's application that also tells a click where to ask, and answers there."""

        async def serve(scope: Any, receive: Any, send: Any) -> None:
            path = scope.get("path", "")
            if path.startswith(PATH):
                await self._tell(path.removeprefix(PATH), send)
            elif path == _SELECT and scope["method"] == "GET":
                await app(scope, receive, self._marked(scope["query_string"], send))
            else:
                await app(scope, receive, send)

        return serve

    def _marked(self, query: bytes, send: Any) -> Any:
        values = parse_qs(query.decode("latin-1"))
        token = secrets.token_urlsafe(9)
        click = Click(values.get("color", [""])[0], values.get("user", [""])[0])
        click.found = dict.fromkeys(["Kafka", *self._places])
        self._clicks[token] = click
        while len(self._clicks) > _REMEMBERED:
            self._clicks.popitem(last=False)

        async def marked(message: Any) -> None:
            if message["type"] == "http.response.start":
                if message["status"] < 300:
                    trail = (b"kafkapipe-trail", f"{PATH[1:]}{token}".encode())
                    message = {**message, "headers": [*message["headers"], trail]}
                else:
                    self._clicks.pop(token, None)
            await send(message)

        return marked

    async def _tell(self, token: str, send: Any) -> None:
        click = self._clicks.get(token)
        document = {"steps": await self._steps(click)} if click else {"error": "not found"}
        headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
        status = 200 if click else 404
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(document).encode()})

    async def _steps(self, click: Click) -> list[dict[str, Any]]:
        at = click.found["Kafka"]
        if at:
            for place, look in self._places.items():
                click.found[place] = click.found[place] or await _try(look(at["partition"], at["offset"]))
        return [{"place": place, "found": found} for place, found in click.found.items()]


async def _try(looking: Awaitable[Found | None]) -> Found | None:
    try:
        return await looking
    except (KafkaPipeError, httpx.HTTPError, OSError):
        return None  # not to be had now; the page asks again


class Files:
    """Finds the published file with a record in it, on HDFS or in a local folder."""

    def __init__(self, folder: str | Path, webhdfs_url: str | None = None) -> None:
        self._folder = folder
        self._url = webhdfs_url
        self._lines: dict[str, int] = {}  # a published file never changes

    async def __call__(self, partition: int, offset: int) -> Found | None:
        """The path, once the file is there."""
        names = [FILE.fullmatch(path) for path in await self._paths()]
        before = [(int(name[2]), name[0]) for name in names if name and int(name[1]) == partition]
        first, path = max((each for each in before if each[0] <= offset), default=(0, ""))
        if not path:
            return None
        if path not in self._lines:
            self._lines[path] = (await self._content(path)).count(b"\n")
        return {"path": path} if offset - first < self._lines[path] else None

    async def _paths(self) -> list[str]:
        if self._url:
            return [entry.path for entry in await hdfs_listing(self._url, str(self._folder))]
        return await asyncio.to_thread(
            lambda: [str(path) for path in Path(self._folder).rglob("color-*.log")]
        )

    async def _content(self, path: str) -> bytes:
        if self._url:
            return await read_hdfs_file(self._url, path)
        return await asyncio.to_thread(Path(path).read_bytes)


def index(url: str, name: str, topic: str) -> Look:
    """Finds the document of a record in an index."""

    async def look(partition: int, offset: int) -> Found | None:
        async with httpx.AsyncClient(trust_env=False, timeout=5) as http:
            answer = await http.head(f"{url}/{name}/_doc/{topic}+{partition}+{offset}")
        return {"index": name} if answer.is_success else None

    return look
