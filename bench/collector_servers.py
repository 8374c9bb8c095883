"""The contenders of bench/collector.py, each a process of its own that serves until its input ends.

    python -m bench.collector_servers NAME BOOTSTRAP

Prints its port; at the end, the CPU-seconds and the MiB that it took since the first request, as JSON.
All run on uvloop with httptools, and produce with the same settings. An event counts as taken when the local
queue has it (``ack: queued``).
"""

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import uvloop

from kafkapipe._collecting import CollectorConfig, ServerLimitsConfig
from kafkapipe.producer import Producer
from kafkapipe.web.answers import Answer, answer
from kafkapipe.web.collector import Collector
from kafkapipe.web.direct import Gate
from kafkapipe.web.server import Server

from .measure import cpu_seconds, memory_mib

TOPIC = "clicks"
ROUTES = [
    {"method": "POST", "path": "/events", "topic": TOPIC, "ack": "queued"},
    {"method": "POST", "path": "/acked", "topic": TOPIC, "ack": "kafka"},
]
SETTINGS = {
    "linger.ms": 5,
    "acks": "all",
    "enable.idempotence": True,
    "queue.buffering.max.messages": 2_000_000,
}
IDLE = {"first_byte": "10m", "keep_alive": "10m", "connections": 20_000}

App = Callable[..., Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]


async def empty(scope: Any, receive: Receive, send: Callable[..., Awaitable[None]]) -> None:
    """What the server library costs: no body is read, an empty 204."""
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


class Nothing:
    """The same below ASGI: what is left of the way that the collector goes when it has nothing to do."""

    ack_seconds = 1.0

    def __init__(self) -> None:
        self._done = answer(204)

    def begin(self, _: Any) -> Answer:
        return self._done

    def count(self, *_: Any) -> None:
        pass


async def listening(app: App, gate: Gate | None = None) -> int:
    server = Server(app, "127.0.0.1:0", option="bench", gate=gate)
    await server.start()
    return server.port


async def kafkapipe(bootstrap: str) -> int:
    producer = Producer(bootstrap, config=SETTINGS)
    await producer.start()
    await producer.warm([TOPIC])
    config = CollectorConfig.model_validate({"routes": ROUTES, "limits": IDLE})
    collector = Collector.from_config(config, producer)
    return await listening(collector, collector.gate())


async def bare(_: str) -> int:
    return await listening(empty)


async def nothing(_: str) -> int:
    return await listening(empty, Gate(Nothing(), ServerLimitsConfig()))  # type: ignore[arg-type]


async def fastapi_confluent(bootstrap: str) -> int:
    from confluent_kafka.aio import AIOProducer  # noqa: PLC0415 - no other contender shall carry its memory
    from fastapi import FastAPI, Request  # noqa: PLC0415

    app = FastAPI()
    producer = AIOProducer({"bootstrap.servers": bootstrap, **SETTINGS})

    @app.post("/events", status_code=202)
    async def events(request: Request) -> dict[str, int]:
        body = await request.body()
        json.loads(body)
        await producer.produce(TOPIC, body)  # its future is the delivery's: nobody waits for that
        return {"accepted": 1}

    events.__annotations__["request"] = Request
    return await listening(app)


async def fastapi_aiokafka(bootstrap: str) -> int:
    from aiokafka import AIOKafkaProducer  # noqa: PLC0415
    from fastapi import FastAPI, Request  # noqa: PLC0415

    app = FastAPI()
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        linger_ms=5,
        acks="all",
        enable_idempotence=False,
        request_timeout_ms=60_000,
    )
    await producer.start()

    @app.post("/events", status_code=202)
    async def events(request: Request) -> dict[str, int]:
        body = await request.body()
        json.loads(body)
        await producer.send(TOPIC, body)
        return {"accepted": 1}

    return await listening(app)


async def python_loop(bootstrap: str) -> int:
    """What the collector does to a batch, in Python: each line is checked by json and goes on as it is."""
    import confluent_kafka  # noqa: PLC0415

    producer = confluent_kafka.Producer({"bootstrap.servers": bootstrap, **SETTINGS})

    async def app(scope: Any, receive: Receive, send: Callable[..., Awaitable[None]]) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        count = 0
        for line in body.split(b"\n"):
            if line:
                assert type(json.loads(line)) is dict
                producer.produce(TOPIC, line)
                count += 1
        producer.poll(0)
        text = b'{"accepted":%d}' % count
        headers = [(b"content-length", b"%d" % len(text)), (b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 202, "headers": headers})
        await send({"type": "http.response.body", "body": text})

    return await listening(app)


CONTENDERS = {
    "kafkapipe": kafkapipe,
    "bare": bare,
    "nothing": nothing,
    "fastapi-confluent": fastapi_confluent,
    "fastapi-aiokafka": fastapi_aiokafka,
    "python": python_loop,
}


async def main(name: str, bootstrap: str) -> None:
    """Serve until the input says no more."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {0})
    print(await CONTENDERS[name](bootstrap), flush=True)
    fresh, before = memory_mib(), cpu_seconds()
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    while await reader.readline():  # a line asks for figures
        found = {"cpu": cpu_seconds() - before, "mib": memory_mib(), "fresh_mib": fresh}
        print(json.dumps(found), flush=True)
    os._exit(0)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], sys.argv[2]))
