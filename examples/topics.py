"""Makes a topic, describes it, deletes it: `python topics.py NAME`. KAFKAPIPE_BOOTSTRAP names the cluster."""

import asyncio
import sys

import kafkapipe as kp


async def main(name: str) -> None:
    async with kp.Admin() as admin:
        await admin.create_topic(name, partitions=3, config={"retention.ms": "86400000"})
        topic = await admin.describe_topic(name)
        for partition in topic.partitions:
            print(f"{name} [{partition.partition}]: leader {partition.leader}, in sync {partition.in_sync}")
        await admin.delete_topic(name)


asyncio.run(main(sys.argv[1]))
