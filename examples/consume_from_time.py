"""Reads what came in the last minutes, in every partition: `python consume_from_time.py TOPIC MINUTES`.

It joins no group and commits nothing.
"""

import asyncio
import sys
from datetime import UTC, datetime, timedelta

import kafkapipe as kp


async def main(topic: str, minutes: float) -> None:
    async with kp.Admin() as admin:
        partitions = [(topic, each.partition) for each in (await admin.describe_topic(topic)).partitions]
    async with kp.Consumer() as consumer:
        await consumer.assign(partitions, start=datetime.now(UTC) - timedelta(minutes=minutes))
        left = sum((await consumer.lag()).values())
        print(f"{left} records to read")
        async for batch in consumer:
            for record in batch:
                print(f"{record.timestamp} [{record.partition}] {record.offset}: {record.key!r}")
            if not any((await consumer.lag()).values()):
                break


asyncio.run(main(sys.argv[1], float(sys.argv[2])))
