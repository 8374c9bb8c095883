"""How far consumer groups are behind: `python group_lag.py [GROUP...]`, by default all."""

import asyncio
import sys

import kafkapipe as kp


async def main(names: list[str]) -> None:
    async with kp.Admin() as admin:
        names = names or [group.name for group in await admin.list_groups()]
        for group in await asyncio.gather(*(admin.describe_group(name) for name in names)):
            print(f"{group.name}: {group.state}, {len(group.members)} members, lag {group.lag}")
            for each in group.offsets:
                print(f"  {each.topic} [{each.partition}]: at {each.committed} of {each.end}, lag {each.lag}")


asyncio.run(main(sys.argv[1:]))
