"""Writes what is in a topic now into local files, exactly once: `python topic_to_files.py TOPIC FOLDER`.

Run it again and it goes on where it was: the group's offsets are in Kafka.
"""

import asyncio
import sys

import kafkapipe as kp


async def main(topic: str, folder: str) -> None:
    sink = kp.File(path=f"{folder}/{{topic}}-{{partition}}-{{offset}}.jsonl", rotate={"age": "1s"})
    async with kp.Pipeline(topics=[topic], sink=sink, group=f"{topic}-to-files") as pipeline:
        await pipeline.drained()
        print(f"{pipeline.snapshot()['records_out']} records written")


asyncio.run(main(sys.argv[1], sys.argv[2]))
