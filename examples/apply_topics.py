"""Makes topics what a file declares: `python apply_topics.py FILE`.

The command `kafkapipe topics apply FILE` does the same.
"""

import asyncio
import sys

import kafkapipe as kp
from kafkapipe import plan


async def main(path: str) -> None:
    declared = plan.load(path)
    async with kp.Admin() as admin:
        todo = plan.make(declared, await plan.read_cluster(admin, declared))
        for change in todo.changes:
            print(f"{change.action} {change.topic}: {change.details}")
        await plan.apply(admin, todo)
        print(f"{len(todo.changes)} changes made")


asyncio.run(main(sys.argv[1]))
