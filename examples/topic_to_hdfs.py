"""Writes what is in a topic now into HDFS, exactly once: `python topic_to_hdfs.py TOPIC NAMENODE FOLDER`.

NAMENODE is its address for HTTP, like http://127.0.0.1:9870.
"""

import asyncio
import sys

import kafkapipe as kp


async def main(topic: str, url: str, folder: str) -> None:
    sink = kp.Hdfs(url=url, path=f"{folder}/{{topic}}-{{partition}}-{{offset}}.log", rotate={"age": "1s"})
    async with kp.Pipeline(topics=[topic], sink=sink, group=f"{topic}-to-hdfs", workers=2) as pipeline:
        await pipeline.drained()
        print(f"{pipeline.snapshot()['records_out']} records written")


asyncio.run(main(*sys.argv[1:]))
