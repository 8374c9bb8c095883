"""Reads a topic as a member of a group until Ctrl-C: `python consume_group.py TOPIC GROUP`.

Start it several times and the members share the partitions.
"""

import asyncio
import signal
import sys

import kafkapipe as kp


async def main(topic: str, group: str) -> None:
    async with kp.Consumer(group=group, topics=[topic]) as consumer:
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, consumer.stop)
        async for batch in consumer:
            for record in batch:
                print(f"[{record.partition}] {record.offset}: {(record.value or b'').decode()}")
            await batch.commit()  # a member that takes over goes on behind this batch
            print(f"{len(batch)} records done", flush=True)


asyncio.run(main(sys.argv[1], sys.argv[2]))
