"""A sink of your own, one gzip file for a batch and partition: `python consume_to_files.py TOPIC FOLDER`.

A file is named by its first offset: a batch that was written but not committed before a crash is read again
and replaces its file. It ends when the topic has been silent for five seconds.
"""

import asyncio
import gzip
import os
import sys
from pathlib import Path

import kafkapipe as kp


def write(batch: kp.Batch, folder: Path) -> None:
    by_partition: dict[int, list[kp.Record]] = {}
    for record in batch:
        by_partition.setdefault(record.partition, []).append(record)
    for partition, records in by_partition.items():
        final = folder / f"{records[0].topic}-{partition}-{records[0].offset}.jsonl.gz"
        hidden = final.with_suffix(".tmp")
        with hidden.open("wb") as file:
            with gzip.open(file, "wb") as lines:
                lines.writelines((record.value or b"null") + b"\n" for record in records)
            os.fsync(file.fileno())
        hidden.rename(final)


async def main(topic: str, folder: Path) -> None:
    async with kp.Consumer(group=f"{topic}-to-gzip", topics=[topic]) as consumer:
        while True:
            try:
                batch = await asyncio.wait_for(anext(consumer), 5)
            except TimeoutError:
                break
            await asyncio.to_thread(write, batch, folder)  # the loop stays free
            await batch.commit()
            print(f"{len(batch)} records written")


target = Path(sys.argv[2])
target.mkdir(parents=True, exist_ok=True)
asyncio.run(main(sys.argv[1], target))
