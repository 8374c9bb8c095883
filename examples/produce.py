"""Sends a thousand click events and looks at what became of each: `python produce.py TOPIC`."""

import asyncio
import json
import sys

import kafkapipe as kp


async def main(topic: str) -> None:
    clicks = [
        json.dumps({"colorName": "red", "userName": f"홍길동 {n}"}, ensure_ascii=False) for n in range(1000)
    ]
    async with kp.Producer() as producer:
        first = await producer.send(topic, clicks[0], key="홍길동", headers=[("from", b"example")])
        print(f"the first is record {first.offset} of partition {first.partition}")
        result = await producer.send_many(topic, clicks[1:])
    print(f"{result.delivered} delivered, {len(result.failed)} failed")
    for index, error in result.failed:
        print(f"click {index}: {error.message}")


asyncio.run(main(sys.argv[1]))
