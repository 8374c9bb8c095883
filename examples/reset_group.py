"""Lets a group read a topic again from a time on: `python reset_group.py GROUP TOPIC TIME [--execute]`.

TIME is like 2026-01-31T10:00. Without --execute it only says what would change. The group's consumers must
have stopped.
"""

import asyncio
import sys
from datetime import datetime

import kafkapipe as kp


async def main(group: str, topic: str, time: datetime, *, execute: bool) -> None:
    async with kp.Admin() as admin:
        for each in await admin.reset_offsets(group, to=time, topics=[topic], dry_run=not execute):
            print(f"{each.topic} [{each.partition}]: {each.before} -> {each.after}")
    print("done" if execute else "nothing changed: add --execute to do it")


asyncio.run(main(*sys.argv[1:3], datetime.fromisoformat(sys.argv[3]), execute="--execute" in sys.argv))
