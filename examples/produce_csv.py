"""Sends the rows of a CSV file as JSON, keyed by a column: `python produce_csv.py TOPIC FILE COLUMN`.

Rows with the same key go to the same partition, in their order; headers say where a record came from.
"""

import asyncio
import csv
import json
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import kafkapipe as kp

BATCH = 1000


def rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        for row in reader:
            yield reader.line_num, row


async def main(topic: str, path: Path, column: str) -> None:
    source, failed = rows(path), 0
    async with kp.Producer(linger_ms=5, compression_type="zstd") as producer:
        while batch := list(islice(source, BATCH)):
            result = await producer.send_many(
                topic,
                [json.dumps(row, ensure_ascii=False) for _, row in batch],
                keys=[row[column] for _, row in batch],
                headers=[{"file": path.name, "line": str(line)} for line, _ in batch],
            )
            for index, error in result.failed:
                print(f"line {batch[index][0]}: {error.message}", file=sys.stderr)
            failed += len(result.failed)
            print(f"{result.delivered} rows sent")
    sys.exit(1 if failed else 0)


asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))
