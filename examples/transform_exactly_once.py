"""Changes records on the way from one topic to another: `python transform_exactly_once.py SOURCE TARGET`.

Until Ctrl-C. What was written and how far the group has read are one transaction: each record counts once,
also when the script is killed and started again. Each further one needs a third argument, a name of its own.
"""

import asyncio
import signal
import sys

import kafkapipe as kp


async def transform(producer: kp.Producer, batch: kp.Batch, target: str) -> None:
    while True:
        try:
            async with producer.transaction() as transaction:
                values = [(record.value or b"").upper() for record in batch]
                await producer.send_many(target, values, keys=[record.key for record in batch])
                await transaction.send_offsets(batch)
            return
        except kp.RetryableError as error:
            print(f"nothing of it was written, once more: {error}", flush=True)


async def main(source: str, target: str, name: str = "1") -> None:
    group = f"{source}-to-{target}"
    async with (
        kp.Consumer(group=group, topics=[source]) as consumer,
        kp.Producer(transactional_id=f"{group}-{name}") as producer,
    ):
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, consumer.stop)
        async for batch in consumer:
            await transform(producer, batch, target)
            print(f"{len(batch)} records done", flush=True)


asyncio.run(main(*sys.argv[1:]))
