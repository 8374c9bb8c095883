"""A mock cluster with a topic of click events in it, in a process of its own, until its input ends.

    python -m bench.cluster RECORDS COMPRESSION [PARTITIONS]

Prints where it is and what a sink must have in the end, as one line of JSON. The cluster keeps 5 MiB a
partition, so the events are spread over at least as many partitions as that takes.
"""

import asyncio
import json
import subprocess
import sys
from typing import Any

from kafkapipe._core import MockCluster
from kafkapipe.producer import Producer

from .measure import STANDIN, build

TOPIC = "clicks"
INDEX = "bench"
_SLICE = 10_000
_PARTITION_BYTES = 4 << 20
_EVENT_BYTES = 220
_RATIO = {"none": 1.0, "lz4": 5.0}
_USERS = ["홍길동", "김철수", '이\\"영희\\"', "박민수\\n둘째", "user-42", "최 지우"]
_COLORS = ["red", "yellow", "green", "blue"]
_AGENTS = ["Mozilla/5.0 (X11; Linux x86_64) Chrome/120.0", "Mozilla/5.0 (iPhone; CPU iPhone OS 17_2) Mobile"]


def event(number: int) -> str:
    """The click with this number: about 200 bytes of JSON, Korean text and a number beyond 2^53 in it."""
    minute, second, ms = number // 60_000 % 60, number // 1000 % 60, number % 1000
    return (
        f'{{"timestamp":"2026-01-01T10:{minute:02}:{second:02}.{ms:03}+0900",'
        f'"userAgent":"{_AGENTS[number % 2]}","colorName":"{_COLORS[number % 4]}",'
        f'"userName":"{_USERS[number % 6]}","session":{9007199254740993 + number * 7919},"note":"버튼"}}'
    )


def document(number: int, value: str, partitions: int) -> str:
    """The two lines of a _bulk request that the record with this number must become."""
    key = f"{TOPIC}+{number % partitions}+{number // partitions}"
    return f'{{"create":{{"_index":"{INDEX}","_id":"{key}"}}}}\n{value}\n'


class Sum:
    """The proof of a body, as the stand-in server counts it."""

    def __init__(self, kind: str) -> None:
        self._process = subprocess.Popen(
            [STANDIN, "--sum", kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def add(self, lines: str) -> None:
        """Lines of the body, each with its newline."""
        assert self._process.stdin
        self._process.stdin.write(lines)

    def result(self) -> dict[str, Any]:
        """Records, bytes and checksum."""
        proof: dict[str, Any] = json.loads(self._process.communicate()[0])
        return proof


async def fill(bootstrap: str, records: int, partitions: int, compression: str) -> dict[str, dict[str, Any]]:
    """Write the events, to the partitions in turn; what files and what an index must have in the end."""
    lines, bulk = Sum("lines"), Sum("bulk")
    async with Producer(bootstrap, compression_type=compression, linger_ms=50) as producer:
        for start in range(0, records, _SLICE):
            numbers = range(start, min(start + _SLICE, records))
            values = [event(number) for number in numbers]
            parts = [number % partitions for number in numbers]
            result = await producer.send_many(TOPIC, values, partitions=parts)
            if result.failed:
                raise SystemExit(f"mock cluster: {result.failed[0]}")
            lines.add("".join(f"{value}\n" for value in values))
            bulk.add("".join(map(document, numbers, values, [partitions] * len(values))))
    return {"lines": lines.result(), "bulk": bulk.result()}


def main() -> None:
    """Fill, tell, wait."""
    records, compression, *wanted = sys.argv[1:]
    build()
    partitions = 1 + int(int(records) * _EVENT_BYTES / _RATIO[compression]) // _PARTITION_BYTES
    partitions = max([partitions, *map(int, wanted)])
    with MockCluster() as cluster:
        cluster.create_topic(TOPIC, partitions)
        proofs = asyncio.run(fill(cluster.bootstrap, int(records), partitions, compression))
        print(json.dumps({"bootstrap": cluster.bootstrap, "partitions": partitions, **proofs}), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
