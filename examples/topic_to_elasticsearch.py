"""Indexes a topic until Ctrl-C; each second it says how far it is.

Run it: `python topic_to_elasticsearch.py TOPIC URL`.
"""

import asyncio
import sys

import kafkapipe as kp


async def main(topic: str, url: str) -> None:
    sink = kp.Elasticsearch(url=url, index=topic.lower())
    async with kp.Pipeline(topics=[topic], sink=sink, dead_letter={"topic": f"{topic}.dlq"}) as pipeline:
        running = asyncio.create_task(pipeline.run())
        while not running.done():
            await asyncio.wait([running], timeout=1)
            seen = pipeline.snapshot()
            print(f"{seen['state']}: {seen['records_out']} indexed, lag {seen['lag']}", flush=True)


asyncio.run(main(sys.argv[1], sys.argv[2]))
