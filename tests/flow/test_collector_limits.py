"""The collector against raw sockets: bodies without end, slow clients, smuggled requests, floods.

Every refusal has its status, a JSON body in one style, and is counted; a good client beside them goes on.
"""

import asyncio
import gzip
import json
import time
import tracemalloc

import pytest

from kafkapipe import Producer
from kafkapipe._collecting import CollectorConfig
from kafkapipe.web.collector import Collector
from kafkapipe.web.server import Server

EVENT = '{"userName":"홍길동","n":9007199254740993}'.encode()
ROUTES = [
    {"method": "POST", "path": "/events", "topic": "t"},
    {"method": "POST", "path": "/queued", "topic": "t", "ack": "queued"},
    {"method": "POST", "path": "/small", "topic": "t", "limits": {"body": "256KiB"}},
    {"method": "POST", "path": "/slow", "topic": "t", "limits": {"rate": {"per_second": 2, "burst": 4}}},
    {"method": "GET", "path": "/get", "topic": "t", "event": {"u": "$query.u", "ip": "$ip"}},
]
QUICK = {"first_byte": "1s", "head": "600ms", "body": "900ms"}


class Running:
    """The collector behind its own server, and raw connections to it."""

    def __init__(self, cluster, **options):
        self.producer = Producer(cluster.bootstrap, linger_ms=1)
        config = CollectorConfig.model_validate({"routes": ROUTES, **options})
        self.collector = Collector.from_config(config, self.producer)
        self.gate = self.collector.gate()
        self.server = Server(self.collector, "127.0.0.1:0", option="collector.listen", gate=self.gate)

    async def __aenter__(self):
        await self.producer.start()
        await self.server.start()
        return self

    async def __aexit__(self, *exc):
        await self.server.close(1)
        await self.producer.close(1)
        assert self.gate.bytes == 0
        assert not self.gate.connections

    async def talk(self, *pieces, pause=0.0):
        """Sends the pieces and reads until the server closes; what came."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        try:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(pause)
            return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)


@pytest.fixture
async def running(cluster):
    cluster.create_topic("t", 1)
    async with Running(cluster, limits={"keep_alive": "100ms"}) as running:
        yield running


def head(path="/events", method="POST", **fields):
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: x",
        *(f"{k.replace('_', '-')}: {v}" for k, v in fields.items()),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def post(body=EVENT, path="/events", **fields):
    return head(path, content_length=len(body), **fields) + body


def answers(data):
    """Status and document of each answer in what came."""
    found = []
    while data:
        top, _, rest = data.partition(b"\r\n\r\n")
        status = int(top.split(b" ", 2)[1])
        if status == 100:
            data = rest
            continue
        length = next(
            (int(x.split(b":")[1]) for x in top.lower().split(b"\r\n") if x.startswith(b"content-length")), 0
        )
        body, data = rest[:length], rest[length:]
        found.append((status, json.loads(body) if body else None))
    return found


def only_refusal(data, status, error):
    ((found, document),) = answers(data)
    assert (found, document["error"]) == (status, error)
    assert set(document) == {"error", "detail"}


# one interpretation, or 400 and the end of the connection

SECOND = b"GET /get?u=smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
SMUGGLED = {
    "two lengths": head(content_length="40\r\nContent-Length: 4") + EVENT,
    "two equal lengths": head(content_length="2\r\nContent-Length: 2") + b"{}",
    "a list of lengths": head(content_length="2, 2") + b"{}",
    "a signed length": head(content_length="+2") + b"{}",
    "a negative length": head(content_length="-2") + b"{}",
    "a length in hex": head(content_length="0x2") + b"{}",
    "length and chunks": head(content_length=4, transfer_encoding="chunked") + b"0\r\n\r\n",
    "chunks and length": head(transfer_encoding="chunked", content_length=4) + b"0\r\n\r\n",
    "a coding that is not chunked": head(transfer_encoding="identity") + b"{}",
    "chunked is not last": head(transfer_encoding="chunked, gzip") + b"2\r\n{}\r\n0\r\n\r\n",
    "an almost chunked": head(transfer_encoding="xchunked") + b"2\r\n{}\r\n0\r\n\r\n",
    "a chunk size that is none": head(transfer_encoding="chunked") + b"2z\r\n{}\r\n0\r\n\r\n",
    "a negative chunk": head(transfer_encoding="chunked") + b"-2\r\n{}\r\n0\r\n\r\n",
    "a huge chunk": head(transfer_encoding="chunked") + b"fffffffffffffffff\r\n{}\r\n0\r\n\r\n",
    "a chunk longer than it says": head(transfer_encoding="chunked") + b"2\r\n{}{}\r\n0\r\n\r\n",
    "a bare LF behind a chunk": head(transfer_encoding="chunked") + b"2\r\n{}\n0\r\n\r\n",
    "bare LF in the head": b"POST /events HTTP/1.1\nHost: x\nContent-Length: 2\n\n{}",
    "one bare LF": b"POST /events HTTP/1.1\r\nHost: x\nContent-Length: 2\r\n\r\n{}",
    "a space before the colon": b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Length : 2\r\n\r\n{}",
    "a folded header": b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n 2\r\n\r\n{}",
    "a NUL in a header": b"POST /events HTTP/1.1\r\nHost: x\0y\r\nContent-Length: 2\r\n\r\n{}",
    "no host": b"POST /events HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
    "another protocol": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize("name", SMUGGLED)
async def test_a_smuggled_request_is_400_and_close(running, name):
    only_refusal(await running.talk(SMUGGLED[name] + SECOND), 400, "bad request")
    assert running.collector.stats.refusals == {"bad request": 1}
    assert running.producer.queue_length == 0
    assert running.collector.stats.events_accepted == 0


async def test_pipelined_requests_are_answered_in_their_order(running):
    many = b"".join([post(), SECOND, post(path="/queued"), post(b"x"), head("/nothing", "GET")]) * 20
    found = answers(await running.talk(many))
    assert [status for status, _ in found] == [200, 200, 202, 400, 404] * 20


async def test_a_good_request_in_single_bytes_and_in_chunks(running):
    chunks = (
        head(transfer_encoding="chunked") + b"".join(b"1\r\n%c\r\n" % byte for byte in EVENT) + b"0\r\n\r\n"
    )
    assert answers(await running.talk(chunks)) == [(200, {"accepted": 1})]
    single = post(expect="100-continue")
    data = await running.talk(*(single[i : i + 1] for i in range(len(single))))
    assert data.startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert answers(data) == [(200, {"accepted": 1})]


async def test_a_half_closed_client_still_gets_its_answer(running):
    reader, writer = await asyncio.open_connection("127.0.0.1", running.server.port)
    writer.write(post())
    writer.write_eof()
    assert answers(await reader.read()) == [(200, {"accepted": 1})]
    writer.close()


# too much (S1)


async def test_too_much_is_refused(running):
    only_refusal(await running.talk(head(content_length=10**12)), 413, "body too large")
    only_refusal(await running.talk(head()), 411, "length required")
    only_refusal(await running.talk(head("/" + "x" * 20_000)), 431, "headers too large")
    only_refusal(await running.talk(head(x_long="x" * 20_000)), 431, "headers too large")
    only_refusal(
        await running.talk(head(**{f"x_{n}": "y" * 50 for n in range(400)})), 431, "headers too large"
    )
    only_refusal(
        await running.talk(b"GET / HTTP/1.1\r\nX: " + b"y" * 10_000, b"y" * 10_000), 431, "headers too large"
    )
    only_refusal(
        await running.talk(head("/nothing", content_length=10**6) + b"x" * 100_000), 404, "not found"
    )
    assert sum(running.collector.stats.refusals.values()) == 7


async def endless(running, piece, *start):
    """Sends for as long as the server listens; how much it took, and what it said."""
    reader, writer = await asyncio.open_connection("127.0.0.1", running.server.port)
    for each in start:
        writer.write(each)
    sent = 0
    try:
        while sent < 50_000_000 and not writer.is_closing() and not reader.at_eof():
            writer.write(piece)
            sent += len(piece)
            await writer.drain()
    except ConnectionError:
        pass
    data = await reader.read()
    writer.close()
    return data


@pytest.mark.parametrize("chunk", [1, 65_536])
async def test_an_endless_body_is_413_and_never_held(running, chunk):
    piece = (b"%x\r\n" % chunk + b" " * chunk + b"\r\n") * max(1, 40_000 // chunk)
    tracemalloc.start()
    data = await endless(running, piece, head("/small", transfer_encoding="chunked"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    only_refusal(data, 413, "body too large")
    assert peak < 800_000 + len(piece)  # the limit twice while it grows, and what the client here holds


async def test_a_bomb_is_413_and_stays_small(running):
    bomb = gzip.compress(b" " * 100_000_000)
    tracemalloc.start()
    data = await running.talk(post(bomb, content_encoding="gzip", connection="close"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    only_refusal(data, 413, "body too large")
    assert peak < 4_000_000


async def test_bodies_in_flight_are_bounded(cluster):
    cluster.create_topic("t", 1)
    async with Running(cluster, limits={"in_flight": "64KiB"}) as running:
        held = [
            asyncio.create_task(running.talk(head(content_length=50_000) + b" " * 30_000)) for _ in range(2)
        ]
        await until(lambda: running.gate.bytes >= 60_000)
        data = await running.talk(head(content_length=50_000) + b" " * 30_000)
        only_refusal(data, 503, "too busy")
        assert b"retry-after: 1" in data
        for task in held:
            task.cancel()
        await asyncio.gather(*held, return_exceptions=True)
        await until(lambda: running.gate.bytes == 0)
        assert answers(await running.talk(post(connection="close"))) == [(200, {"accepted": 1})]


async def test_connections_are_bounded(cluster):
    cluster.create_topic("t", 1)
    async with Running(cluster, limits={"connections": 3, "first_byte": "1s"}) as running:
        idle = [asyncio.create_task(running.talk()) for _ in range(3)]
        await until(lambda: len(running.gate.connections) == 3)
        only_refusal(await running.talk(post()), 503, "too busy")
        assert await asyncio.gather(*idle) == [b""] * 3
        assert answers(await running.talk(post(connection="close"))) == [(200, {"accepted": 1})]


# too slow (S2)


async def test_slow_clients_are_cut_off_and_a_good_one_beside_them_is_not_slowed(cluster):
    cluster.create_topic("t", 1)
    async with Running(cluster, limits=QUICK) as running:
        alone = await rate(running, 0.5)

        async def drip(start):
            began = time.monotonic()
            data = await running.talk(start, *[b"x"] * 40, pause=0.05)
            return time.monotonic() - began, data

        slow = [asyncio.create_task(drip(head()[:-2] + b"X: ")) for _ in range(100)]
        slow += [asyncio.create_task(drip(head(content_length=1000))) for _ in range(100)]
        beside = await rate(running, 0.5)
        found = await asyncio.gather(*slow)
        assert {data.split(b" ", 2)[1] for _, data in found if data} == {b"408"}
        assert set(running.collector.stats.refusals) == {"request too slow", "body too slow"}
        assert not [took for took, _ in found if took > 30]
        silent = await asyncio.gather(
            *(running.talk() for _ in range(10)), running.talk(post(connection="close"))
        )
        assert silent[:10] == [b""] * 10
        assert answers(silent[10]) == [(200, {"accepted": 1})]
        assert beside > alone * 0.3  # that they are there is nothing; that they connect takes a while


async def rate(running, seconds):
    """Requests a second of one good client."""
    reader, writer = await asyncio.open_connection("127.0.0.1", running.server.port)
    count, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        writer.write(post(path="/queued"))
        await reader.readuntil(b'{"accepted":1}')
        count += 1
    writer.close()
    return count / seconds


async def test_who_does_not_read_the_answers_is_not_read_either(cluster):
    cluster.create_topic("t", 1)
    async with Running(cluster, limits={"body": "1s"}) as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.server.port, limit=1024)
        flood = head("/nothing", "GET") * 2000
        async with asyncio.timeout(60):
            try:
                while True:
                    writer.write(flood)
                    await writer.drain()
            except ConnectionError:
                pass
        writer.close()
        assert reader is not None


# too often


async def test_more_events_than_the_rate_are_429_with_retry_after(running):
    assert answers(await running.talk(post(b"{}\n" * 6, "/slow"))) == [(200, {"accepted": 6})]
    data = await running.talk(post(path="/slow"))
    only_refusal(data, 429, "too many requests")
    assert b"retry-after: 2\r\n" in data  # two in debt, and one is wanted
    assert answers(await running.talk(post()))[0][0] == 200


async def test_the_address_behind_a_trusted_proxy_counts(cluster, read_all):
    cluster.create_topic("t", 1)
    async with Running(cluster, trusted_proxies=["127.0.0.0/8", "10.0.0.0/8"]) as running:
        for chain in (
            "203.0.113.9",
            "1.2.3.4, 203.0.113.9",
            "evil, 203.0.113.9, 10.0.0.1",
            "203.0.113.9:4711",
        ):
            await running.talk(head("/get?u=1", "GET", x_forwarded_for=chain, connection="close"))
        for _ in range(2):
            await running.talk(post(b"{}\n{}", "/slow", x_forwarded_for="2001:db8::1", connection="close"))
        only_refusal(
            await running.talk(post(path="/slow", x_forwarded_for="2001:db8::ffff", connection="close")),
            429,
            "too many requests",
        )
        assert (
            answers(
                await running.talk(post(path="/slow", x_forwarded_for="2001:db9::1", connection="close"))
            )[0][0]
            == 200
        )
        await running.producer.flush()
        found = [json.loads(each.value) for each in await asyncio.to_thread(read_all, "t")]
        assert [each["ip"] for each in found if "ip" in each] == ["203.0.113.9"] * 4


async def test_nobody_is_believed_by_default(running, read_all):
    await running.talk(head("/get?u=1", "GET", x_forwarded_for="203.0.113.9"))
    assert json.loads((await asyncio.to_thread(read_all, "t"))[0].value)["ip"] == "127.0.0.1"
