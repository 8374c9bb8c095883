"""`kafkapipe run` with a collector that is killed, and whose Kafka goes away; the oracle is the topic.

`make faults` gives the full dose; KAFKAPIPE_SEED=N the same chances again.
"""

import asyncio
import gzip
import json
import os
import random
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path

import confluent_kafka
import httpx

from bench.measure import memory_mib

SHARE = float(os.environ.get("KAFKAPIPE_FAULTS") or 0)
KILLS = max(5, round(100 * SHARE))
MIXED = max(20_000, round(1_000_000 * SHARE))
CLIENTS = 8
TICKS = os.sysconf("SC_CLK_TCK")


@asynccontextmanager
async def program(folder, bootstrap, port, management, **collector):
    """`kafkapipe run`, ready; killed at the end unless it ended before."""
    config = {
        "kafka": {"bootstrap.servers": bootstrap, "linger.ms": 1},
        "collector": {
            "listen": f"127.0.0.1:{port}",
            "routes": [{"method": "POST", "path": "/events", "topic": "t"}],
            **collector,
        },
        "management": {"listen": f"127.0.0.1:{management}"},
    }
    file = folder / "collector.yaml"
    file.write_text(json.dumps(config))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "kafkapipe", "run", str(file), stderr=asyncio.subprocess.DEVNULL
    )
    try:
        await until(lambda: ready(management))
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def until(condition):
    """Wait, and not for ever."""
    async with asyncio.timeout(60):
        while not await condition():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)


async def ready(management):
    return await readiness(management) == 200


async def readiness(management):
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=30) as http:
            return (await http.get(f"http://127.0.0.1:{management}/readyz")).status_code
    except httpx.TransportError:
        return None


class Load:
    """Clients that post events with ids until nobody answers any more."""

    def __init__(self, url):
        self.url = url
        self.numbers = iter(range(10**9))
        self.sent = 0
        self.acked = []

    async def run(self):
        await asyncio.gather(*(self._client() for _ in range(CLIENTS)))

    async def _client(self):
        async with httpx.AsyncClient(base_url=self.url, trust_env=False, timeout=30) as http:
            while True:
                ids = [next(self.numbers) for _ in range(3)]
                body = "\n".join(f'{{"id":{each},"이름":"홍길동"}}' for each in ids)
                self.sent += 3
                try:
                    answer = await http.post("/events", content=body.encode())
                except httpx.TransportError:
                    return
                assert answer.json() == {"accepted": 3}
                self.acked += ids


async def test_every_answered_event_is_in_the_topic_after_kill_9(
    cluster, read_all, tmp_path, unused_tcp_port_factory
):
    seed = int(os.environ.get("KAFKAPIPE_SEED") or random.randrange(2**32))
    print(f"KAFKAPIPE_SEED={seed}")
    chances = random.Random(seed)
    cluster.create_topic("t", 1)
    port, management = unused_tcp_port_factory(), unused_tcp_port_factory()
    load = Load(f"http://127.0.0.1:{port}")
    for _ in range(KILLS):
        before = len(load.acked)
        async with program(tmp_path, cluster.bootstrap, port, management) as process:
            running = asyncio.create_task(load.run())
            wanted = before + chances.randrange(30, 300)
            async with asyncio.timeout(60):
                while len(load.acked) < wanted:  # noqa: ASYNC110 - nothing tells
                    await asyncio.sleep(0.001)
            process.kill()
            await running
            await process.wait()
    found = [json.loads(each.value)["id"] for each in await asyncio.to_thread(read_all, "t")]
    assert len(set(found)) == len(found)
    assert set(load.acked) <= set(found)
    assert len(found) <= load.sent


def used_seconds(process):
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


async def test_kafka_away_is_said_in_time_costs_nothing_and_heals(
    cluster, read_all, tmp_path, unused_tcp_port_factory
):
    cluster.create_topic("t", 1)
    port, management = unused_tcp_port_factory(), unused_tcp_port_factory()
    async with (
        program(tmp_path, cluster.bootstrap, port, management, ack_timeout="300ms") as process,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30) as http,
    ):
        assert (await http.post("/events", content=b'{"n":1}')).status_code == 200
        cluster.set_up(-1, False)
        start = time.monotonic()
        answer = await http.post("/events", content=b'{"n":2}')
        assert time.monotonic() - start < 5
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.json()["error"] == "kafka unavailable"
        assert await readiness(management) == 503
        before = used_seconds(process)
        await asyncio.sleep(3)  # what is measured is that nothing happens
        assert used_seconds(process) - before < 0.3
        cluster.set_up(-1, True)

        async def taken():
            return (await http.post("/events", content=b'{"n":3}')).status_code == 200

        await until(taken)
        await until(lambda: ready(management))
    found = [each.value for each in await asyncio.to_thread(read_all, "t")]
    assert {b'{"n":1}', b'{"n":2}', b'{"n":3}'} == set(found)


async def test_the_colour_route_as_the_contract_has_it(cluster, read_all, tmp_path, unused_tcp_port_factory):
    cluster.create_topic("select-color", 3)
    port, management = unused_tcp_port_factory(), unused_tcp_port_factory()
    event = {
        "timestamp": "$now", "userAgent": "$header.user-agent",
        "colorName": "$query.color", "userName": "$query.user",
    }  # fmt: skip
    route = {"method": "GET", "path": "/api/select", "topic": "select-color", "cors": ["*"], "event": event}
    async with program(tmp_path, cluster.bootstrap, port, management, routes=[route]):
        curl = await asyncio.create_subprocess_exec(
            "curl", "-s", "-i", "-A", "Mozilla/5.0", f"http://127.0.0.1:{port}/api/select?color=red&user=홍길동",
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        said = (await curl.communicate())[0].decode()
    head, _, body = said.partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 200 OK\r\n")
    assert "\r\naccess-control-allow-origin: *\r\n" in head
    assert body == ""
    (record,) = await asyncio.to_thread(read_all, "select-color", 3)
    assert record.key is None
    assert record.value.decode().endswith('"userAgent":"Mozilla/5.0","colorName":"red","userName":"홍길동"}')
    assert list(json.loads(record.value)) == list(event)


def post(body, path="/events", **headers):
    """The bytes of a request."""
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"POST {path} HTTP/1.1\r\nHost: x\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body


EVENT = '{"이름":"홍길동 \\"둘\\"","n":9007199254740993}'.encode()
REQUESTS = [  # request, status, events taken
    (post(EVENT), 202, 1),
    (post(b"[" + b",".join([EVENT] * 20) + b"]"), 202, 20),
    (post(b"\n".join([EVENT] * 5), Content_Type="text/plain;charset=UTF-8"), 202, 5),
    (post(gzip.compress(EVENT * 1), Content_Encoding="gzip"), 202, 1),
    (post("이름=홍길동&n=1".encode(), Content_Type="application/x-www-form-urlencoded"), 202, 1),
    (post(EVENT[:-1]), 400, 0),
    (post(b"[" * 50_000), 400, 0),
    (post(b"\xff\xfe"), 400, 0),
    (post(gzip.compress(EVENT)[:-9], Content_Encoding="gzip"), 400, 0),
    (post(gzip.compress(b" " * 30_000_000), Content_Encoding="gzip"), 413, 0),
    (post(EVENT, Content_Type="image/png"), 415, 0),
    (post(EVENT, path="/nowhere"), 404, 0),
    (post(EVENT, path="/nowhere/" + "x" * 5000), 404, 0),
    (b"DELETE /events HTTP/1.1\r\nHost: x\r\n\r\n", 405, 0),
    (post(EVENT, X_Large="x" * 40_000), 431, 0),
    (b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n", 413, 0),
    (b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}", 400, 0),
    (b"POST /events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400, 0),
    (b"\x16\x03\x01 nothing of HTTP\r\n\r\n", 400, 0),
]
HALF = post(EVENT)[:-10]  # and then its sender is gone


class Mixed:
    """Clients that send every kind of request, by chance, and compare the answers."""

    def __init__(self, port, seed):
        self.port = port
        self.chances = random.Random(seed)
        self.left = 0
        self.taken = 0

    async def run(self, requests):
        self.left = requests
        await asyncio.gather(*(self._client() for _ in range(CLIENTS)))

    async def _client(self):
        while self.left > 0:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            going = True
            while going and self.left > 0:
                going = await self._one(reader, writer)
            writer.close()

    async def _one(self, reader, writer):
        """Whether the connection is still good for another one."""
        self.left -= 1
        if self.chances.random() < 0.01:
            writer.write(HALF)
            return False
        request, status, events = self.chances.choice(REQUESTS)
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length: ")[2].partition("\r\n")[0] or 0)
        body = await reader.readexactly(length)
        assert head.split()[1] == str(status), (request[:200], head, body)
        if status == 202:
            assert json.loads(body) == {"accepted": events}
        else:
            assert set(json.loads(body)) >= {"error", "detail"}
        self.taken += events
        return "connection: close" not in head


async def test_every_kind_of_request_leaves_memory_flat(cluster, tmp_path, unused_tcp_port_factory):
    seed = int(os.environ.get("KAFKAPIPE_SEED") or random.randrange(2**32))
    print(f"KAFKAPIPE_SEED={seed}")
    cluster.create_topic("t", 1)
    port, management = unused_tcp_port_factory(), unused_tcp_port_factory()
    async with program(tmp_path, cluster.bootstrap, port, management, ack="queued") as process:
        mixed = Mixed(port, seed)
        await mixed.run(MIXED // 4)
        before = memory_mib(process.pid)
        await mixed.run(MIXED)
        after = memory_mib(process.pid)
        consumer = confluent_kafka.Consumer({"bootstrap.servers": cluster.bootstrap, "group.id": "count"})
        place = confluent_kafka.TopicPartition("t", 0)

        async def all_there():
            return (await asyncio.to_thread(consumer.get_watermark_offsets, place, 20))[1] == mixed.taken

        await until(all_there)
        consumer.close()
    print(f"{MIXED} requests: {before:.1f} MiB, then {after:.1f} MiB")
    assert after - before < 8
