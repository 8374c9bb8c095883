"""Reads back what arrived, past kafkapipe's own clients: Kafka's console consumer, WebHDFS, Elasticsearch.

Everything is by the record's coordinates, partition and offset; what is there twice is a problem.
"""

import asyncio
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from .errors import KafkaPipeError
from .stack import HdfsEntry, Stack, hdfs_listing

Coordinates = tuple[int, int]
"""Partition and offset."""

FILE = re.compile(r".*/color-(\d+)-(\d+)\.log")
_RECORD = re.compile(rb"Partition:(\d+)\tOffset:(\d+)\t(.*)")
_IDLE_MS = 4000


async def topic_records(stack: Stack, topic: str, count: int) -> dict[Coordinates, bytes]:
    """The values in a topic, by Kafka's own console consumer; one more than ``count`` at most."""
    result = await stack.run_java_tool(
        "kafka", "org.apache.kafka.tools.consumer.ConsoleConsumer",
        "--bootstrap-server", stack.bootstrap, "--topic", topic, "--from-beginning",
        "--max-messages", str(count + 1), "--timeout-ms", str(_IDLE_MS),
        "--formatter-property", "print.partition=true", "--formatter-property", "print.offset=true",
    )  # fmt: skip
    found = [_RECORD.fullmatch(line) for line in result.stdout.encode().splitlines()]
    return {(int(each[1]), int(each[2])): each[3] for each in found if each}


class Lines:
    """Lines of published files by coordinates; a file is read once, as it never changes."""

    def __init__(self) -> None:
        self.found: dict[Coordinates, bytes] = {}
        self.problems: list[str] = []
        self._seen: set[str] = set()

    def is_new(self, path: str) -> bool:
        """Whether this is a published file that was not added yet."""
        return path not in self._seen and FILE.fullmatch(path) is not None

    def add(self, path: str, content: bytes) -> None:
        """Take the lines of a file, which begin with the offset that its name tells."""
        self._seen.add(path)
        name = FILE.fullmatch(path)
        assert name
        if not content.endswith(b"\n"):
            self.problems.append(f"{path} does not end with a newline")
        for number, line in enumerate(content.removesuffix(b"\n").split(b"\n")):
            at = (int(name[1]), int(name[2]) + number)
            if at in self.found:
                self.problems.append(f"record {at} is twice in files, the second time in {path}")
            self.found[at] = line


async def read_hdfs(lines: Lines, url: str, folder: str) -> list[HdfsEntry]:
    """Add the files that are new in this folder of HDFS; everything that is there."""
    entries = await hdfs_listing(url, folder)
    for entry in entries:
        if lines.is_new(entry.path):
            lines.add(entry.path, await read_hdfs_file(url, entry.path))
    return entries


async def read_hdfs_file(url: str, path: str) -> bytes:
    """The content of a file in HDFS."""
    async with httpx.AsyncClient(trust_env=False, timeout=30, follow_redirects=True) as http:
        query = {"op": "OPEN", "user.name": "hadoop"}
        answer = await http.get(f"{url}/webhdfs/v1{quote(path)}", params=query)
    answer.raise_for_status()
    return answer.content


async def read_folder(lines: Lines, folder: Path) -> list[Path]:
    """Add the files that are new in this local folder; every published file that is there."""
    paths = await asyncio.to_thread(lambda: sorted(folder.rglob("color-*.log")))
    for path in paths:
        if lines.is_new(str(path)):
            lines.add(str(path), await asyncio.to_thread(path.read_bytes))
    return paths


class Index:
    """One index of Elasticsearch."""

    def __init__(self, url: str, name: str) -> None:
        self._url = f"{url}/{name}"

    async def count(self) -> int:
        """Number of documents; 0 when there is no index."""
        async with _http() as http:
            await http.post(f"{self._url}/_refresh")
            answer = await http.get(f"{self._url}/_count")
        return int(answer.json()["count"]) if answer.is_success else 0

    async def documents(self) -> dict[str, Any]:
        """All documents, at most 10,000, by id."""
        async with _http() as http:
            answer = await http.get(f"{self._url}/_search", params={"size": 10_000})
        if answer.status_code == 404:
            return {}
        if not answer.is_success:
            raise KafkaPipeError(f"elasticsearch search: HTTP {answer.status_code}", op="search")
        return {hit["_id"]: hit["_source"] for hit in answer.json()["hits"]["hits"]}


def _http() -> httpx.AsyncClient:
    return httpx.AsyncClient(trust_env=False, timeout=30)


def differences(records: dict[Coordinates, bytes], lines: dict[Coordinates, bytes]) -> Iterable[str]:
    """How the lines of files differ from the records of the topic."""
    for at in sorted(records.keys() - lines.keys()):
        yield f"record {at} is in no file"
    for at in sorted(lines.keys() - records.keys()):
        yield f"record {at} is in a file, but not in the topic"
    for at in sorted(records.keys() & lines.keys()):
        if records[at] != lines[at]:
            yield f"record {at} is not the same in the file: {lines[at]!r}, in the topic {records[at]!r}"


def index_differences(
    topic: str, records: dict[Coordinates, bytes], documents: dict[str, Any]
) -> Iterable[str]:
    """How the documents of the index differ from the records of the topic."""
    expected = {f"{topic}+{partition}+{offset}": value for (partition, offset), value in records.items()}
    for name in sorted(expected.keys() - documents.keys()):
        yield f"document {name} is not in the index"
    for name in sorted(documents.keys() - expected.keys()):
        yield f"document {name} is in the index, but not in the topic"
    for name in sorted(documents.keys() & expected.keys()):
        if documents[name] != json.loads(expected[name]):
            yield f"document {name} differs from its record: {documents[name]}"
