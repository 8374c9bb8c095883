"""kafkapipe.js in a browser: batches, beacons when the page is left, and what it does when it is refused.

The server here answers as a test tells it to and writes down what came.
"""

import asyncio
import gzip
import json
from importlib.resources import files

import pytest

from kafkapipe.web import page as pages
from kafkapipe.web.server import Server

PAGE = b'<!doctype html><meta charset="utf-8"><title>t</title><script src="/kafkapipe.js"></script>'
TAKEN = (200, {}, b'{"accepted":1}')
SOURCE = files("kafkapipe.web").joinpath("static", "kafkapipe.js")


class Scripted:
    """An ASGI application: the page, the library, and POST /events with the answers of the script."""

    def __init__(self):
        self.script = []
        self.requests = []
        self.came = asyncio.Condition()
        self.library = pages.load()["/kafkapipe.js"]

    async def __call__(self, scope, receive, send):
        if scope["path"] == "/kafkapipe.js":
            status, headers, body = 200, dict(self.library.headers), self.library.body
        elif scope["path"] == "/events":
            status, headers, body = await self.take(scope, receive)
        else:
            status, headers, body = 200, {b"content-type": b"text/html"}, PAGE
        pairs = [*headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": pairs})
        await send({"type": "http.response.body", "body": body})

    async def take(self, scope, receive):
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        async with self.came:
            self.requests.append((dict(scope["headers"]), [json.loads(line) for line in body.splitlines()]))
            self.came.notify_all()
        return self.script.pop(0) if self.script else TAKEN

    @property
    def batches(self):
        return [events for _, events in self.requests]

    async def until(self, count):
        """Wait for so many requests."""
        async with asyncio.timeout(20), self.came:
            await self.came.wait_for(lambda: len(self.requests) >= count)


@pytest.fixture
async def server():
    app = Scripted()
    server = Server(app, "127.0.0.1:0", option="test")
    await server.start()
    app.url = server.url
    yield app
    await server.close(1)


@pytest.fixture
async def run(chromium, server):
    """``await run("script", …)``: what a script in a fresh page gives; it may await."""

    async def execute(script, *arguments):
        body = f"""const done = arguments[arguments.length - 1];
            (async () => {{ {script} }})().then(done, (error) => done(String(error)))"""
        return await asyncio.to_thread(chromium.execute_async_script, body, *arguments)

    await asyncio.to_thread(chromium.get, f"{server.url}/")
    await asyncio.to_thread(chromium.set_script_timeout, 20)
    return execute


def test_it_is_a_few_kilobytes():
    source = SOURCE.read_bytes()
    assert len(source) < 7_000
    assert len(gzip.compress(source)) < 3_000


def test_any_site_may_load_it_and_its_browser_keeps_it():
    headers = dict(pages.load()["/kafkapipe.js"].headers)
    assert headers[b"access-control-allow-origin"] == b"*"
    assert headers[b"cross-origin-resource-policy"] == b"cross-origin"
    assert headers[b"cache-control"] == b"public, max-age=3600"


async def test_events_go_out_in_batches_and_in_order(run, server):
    names = ["홍길동", '그는 "안녕"\n했다', "</script>"]
    left = await run(
        """window.k = new KafkaPipe("events", {batch: 20, linger: 50});
        for (let n = 0; n < 45; n++) k.send({n, name: arguments[0][n % 3]});
        await k.flush(); return k.waiting""",
        names,
    )
    assert left == 0
    assert [len(batch) for batch in server.batches] == [20, 20, 5]
    events = [event for batch in server.batches for event in batch]
    assert [(event["n"], event["name"]) for event in events] == [(n, names[n % 3]) for n in range(45)]
    assert len({event["event_id"] for event in events}) == 45
    assert server.requests[0][0][b"content-type"] == b"text/plain;charset=UTF-8"


async def test_a_lone_event_waits_for_the_linger_only(run, server):
    await run("window.k = new KafkaPipe('/events', {linger: 30}); k.send({n: 1}); k.send({n: 2})")
    await server.until(1)
    assert [[event["n"] for event in batch] for batch in server.batches] == [[1, 2]]


async def test_a_batch_stays_below_what_may_outlive_the_page(run, server):
    await run(
        """const k = new KafkaPipe("/events", {batch: 100});
        for (let n = 0; n < 9; n++) k.send({n, text: "가".repeat(5000)});
        k.send({n: 9, text: "x".repeat(200000)});
        await k.flush()"""
    )
    assert [[event["n"] for event in batch] for batch in server.batches] == [
        [0, 1, 2],
        [3, 4, 5],
        [6, 7, 8],
        [9],
    ]


@pytest.mark.parametrize(
    ("status", "headers"),
    [(503, {b"retry-after": b"1"}), (429, {b"retry-after": b"1"}), (502, {}), (408, {})],
)
async def test_what_was_refused_for_now_is_sent_again_with_the_same_id(run, server, status, headers):
    server.script = [(status, headers, b'{"error":"kafka unavailable"}')] * 2
    waited = await run(
        """const k = new KafkaPipe("/events", {retry: [10, 20]}), start = performance.now();
        k.send({n: 2 ** 53 - 1, name: "홍길동"}); await k.flush(); return performance.now() - start"""
    )
    assert len(server.batches) == 3
    assert server.batches[0] == server.batches[1] == server.batches[2]
    assert (waited >= 2000) == bool(headers)


async def test_no_network_is_waited_out(run, server, chromium):
    chromium.execute_cdp_cmd("Network.enable", {})
    limits = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    await run("window.k = new KafkaPipe('/events', {retry: [10, 50]})")
    chromium.execute_cdp_cmd("Network.emulateNetworkConditions", {"offline": True, **limits})
    try:
        waiting = await run(
            "k.send({n: 1}); k.flush(); await new Promise((r) => setTimeout(r, 200)); return k.waiting"
        )
        assert waiting == 1
    finally:
        chromium.execute_cdp_cmd("Network.emulateNetworkConditions", {"offline": False, **limits})
    await run("await k.flush()")
    assert [event["n"] for batch in server.batches for event in batch] == [1]


async def test_of_a_refused_batch_only_the_good_events_are_sent_again(run, server):
    body = {"error": "invalid events", "accepted": 0, "rejected": [{"index": 1, "reason": "이름이 없음"}]}
    server.script = [(400, {}, json.dumps(body).encode())]
    refused = await run(
        """const refused = [];
        const k = new KafkaPipe("/events", {refused: (event, reason) => refused.push([event.n, reason])});
        for (let n = 0; n < 3; n++) k.send({n});
        await k.flush(); return refused"""
    )
    assert refused == [[1, "이름이 없음"]]
    assert [[event["n"] for event in batch] for batch in server.batches] == [[0, 1, 2], [0, 2]]


async def test_of_a_batch_that_was_half_taken_the_other_half_is_sent_again(run, server):
    body = {
        "error": "kafka unavailable",
        "accepted": 2,
        "rejected": [{"index": 1, "reason": "not confirmed"}],
    }
    server.script = [(503, {}, json.dumps(body).encode())]
    await run(
        """const k = new KafkaPipe("/events", {retry: [1, 1]});
        for (let n = 0; n < 3; n++) k.send({n}); await k.flush()"""
    )
    assert [[event["n"] for event in batch] for batch in server.batches] == [[0, 1, 2], [1]]


async def test_what_kafka_took_beside_an_event_too_large_for_it_is_not_sent_again(run, server):
    body = {"error": "event too large", "accepted": 1, "rejected": [{"index": 0, "reason": "too large"}]}
    server.script = [(413, {}, json.dumps(body).encode())]
    await run(
        """const k = new KafkaPipe("/events", {refused: () => 0});
        k.send({n: 1}); k.send({n: 2}); await k.flush()"""
    )
    assert [[event["n"] for event in batch] for batch in server.batches] == [[1, 2]]


async def test_a_batch_that_is_too_large_is_halved(run, server):
    server.script = [(413, {}, b'{"error":"body too large"}')]
    await run(
        """const k = new KafkaPipe("/events", {});
        for (let n = 0; n < 5; n++) k.send({n}); await k.flush()"""
    )
    assert [len(batch) for batch in server.batches] == [5, 3, 2]


async def test_what_can_never_be_taken_is_told_and_does_not_block(run, server):
    server.script = [(403, {}, b'{"error":"forbidden","detail":"no such key"}')]
    refused = await run(
        """const refused = [];
        const k = new KafkaPipe("/events", {batch: 1, refused: (event, why) => refused.push([event.n, why])});
        k.send({n: 1}); k.send({n: 2}); await k.flush(); return refused"""
    )
    assert refused == [[1, "no such key"]]
    assert [event["n"] for batch in server.batches for event in batch] == [1, 2]


async def test_a_full_queue_is_told_to_the_caller(run, server):
    ids = await run(
        """const k = new KafkaPipe("/events", {queue: 2});
        return [k.send({n: 1, event_id: "mine"}), k.send({n: 2}), k.send({n: 3})]"""
    )
    assert ids[0] == "mine"
    assert len(ids[1]) == 36
    assert ids[2] is None


async def test_leaving_the_page_sends_what_waits_by_beacon(run, server, chromium):
    await run(
        """window.k = new KafkaPipe("/events", {batch: 100, linger: 60000});
        for (let n = 0; n < 150; n++) k.send({n, name: "홍길동"})"""
    )
    await server.until(1)  # the first hundred go by themselves
    await asyncio.to_thread(chromium.get, "about:blank")
    await server.until(2)
    assert sorted(event["n"] for batch in server.batches for event in batch) == list(range(150))


async def test_what_a_reload_interrupted_is_sent_after_it_with_the_same_ids(run, server, chromium):
    server.script = [(503, {b"retry-after": b"30"}, b"{}")] * 2
    await run(
        """const k = new KafkaPipe("/events", {store: true, linger: 0}); k.send({n: 1, name: "홍길동"});
        k.flush()"""
    )
    await server.until(1)
    await asyncio.to_thread(chromium.refresh)
    await server.until(2)  # the beacon, refused as well
    assert (
        await run("const k = new KafkaPipe('/events', {store: true}); await k.flush(); return k.waiting") == 0
    )
    assert len(server.batches) == 3
    assert server.batches[0] == server.batches[1] == server.batches[2]
    assert await run("return sessionStorage.length") == 0


async def test_a_key_of_its_own_goes_with_every_request(run, server, chromium):
    await run(
        """window.k = new KafkaPipe("/events", {headers: {Authorization: "Bearer x"}});
        k.send({n: 1}); await k.flush(); k.send({n: 2})"""
    )
    await asyncio.to_thread(chromium.get, "about:blank")
    await server.until(2)
    assert [headers[b"authorization"] for headers, _ in server.requests] == [b"Bearer x"] * 2


async def test_a_header_that_no_request_could_have_is_told_at_once(run):
    assert "TypeError" in await run("new KafkaPipe('/events', {headers: {Authorization: '열쇠'}})")
