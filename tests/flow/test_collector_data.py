"""Routes as data: what each kind of route makes of a request, as another client reads it from the topic."""

import asyncio
import gzip
import json
import re

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

import kafkapipe as kp

EVENT = '{"user":{"id":"홍길동","n":9007199254740993},"kind":"click","site":"shop","id":"e-1"}'
BODY_TEMPLATE = {
    "at": "$now", "ip": "$ip", "id": "$uuid", "site": "$path.site", "page": "$header.referer?",
    "who": "$body.user.id", "n": "$body.user.n", "event": "$body", "v": 2, "ok": True, "none": None,
    "$": "$$now",
}  # fmt: skip
ROUTES = [
    {"method": "POST", "path": "/plain", "topic": "t"},
    {"method": "POST", "path": "/queued", "topic": "t", "ack": "queued"},
    {"method": "POST", "path": "/e/{site}", "topic": {"by": "$path.site", "allow": ["t", "other"]}},
    {"method": "POST", "path": "/kinds",
     "topic": {"by": "$body.kind", "allow": {"click": "t", "view": "other"}}},
    {"method": "POST", "path": "/made/{site}", "topic": "t", "event": BODY_TEMPLATE,
     "key": "$path.site-$body.user.id", "headers": {"kind": "$body.kind", "app": "웹", "no": "$query.no?"}},
    {"method": "GET", "path": "/pixel/{site}", "topic": "t", "answer": "gif",
     "event": {"site": "$path.site"}},
    {"method": "GET", "path": "/beat", "topic": "t", "answer": "no-content", "event": {"u": "$query.u"},
     "key": "$query.u"},
    {"method": "POST", "path": "/small", "topic": "t", "limits": {"body": 2000, "events": 3}},
]  # fmt: skip


class Running:
    """The collector as an application of its own, mounted under Starlette."""

    def __init__(self, bootstrap, read_all, **options):
        self.collector = kp.Collector(
            options.pop("routes", ROUTES), bootstrap=bootstrap, kafka={"linger.ms": 1}, **options
        )
        app = Starlette(routes=[Mount("/collect", self.collector)], lifespan=self.collector.lifespan)
        self._life = app.router.lifespan_context(app)
        transport = httpx.ASGITransport(app, client=("192.0.2.7", 1234))
        self.http = httpx.AsyncClient(transport=transport, base_url="http://c/collect")
        self._read_all = read_all
        self._seen = {}

    async def __aenter__(self):
        await self._life.__aenter__()
        return self

    async def __aexit__(self, *exc):
        await self.http.aclose()
        await self._life.__aexit__(None, None, None)

    async def post(self, path, body, status=200, **headers):
        """What the answer says; its status must be this one."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = await self.http.post(path, content=body, headers=sent)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    async def new(self, topic="t"):
        """The records that are new in the topic since the last look."""
        await self.collector._owned.flush()
        found = await asyncio.to_thread(self._read_all, topic)
        before, self._seen[topic] = self._seen.get(topic, 0), len(found)
        return found[before:]


@pytest.fixture
async def running(cluster, read_all):
    for topic in ("t", "other"):
        cluster.create_topic(topic, 1)
    async with Running(cluster.bootstrap, read_all) as running:
        yield running


async def test_the_topic_is_chosen_from_the_list_and_never_another(running):
    assert await running.post("/e/other", EVENT) == {"accepted": 1}
    assert [each.value for each in await running.new("other")] == [EVENT.encode()]
    for name in ("__consumer_offsets", "t%0a", "t%00", "T", "x", "t%2f..", "%ed%95%9c"):
        assert (await running.post(f"/e/{name}", EVENT, 404))["error"] == "not found"
    assert await running.new() == []


async def test_each_event_of_a_batch_can_choose_its_topic(running):
    view = '{"kind":"view"}'
    assert await running.post("/kinds", f"[{EVENT},{view},{EVENT}]") == {"accepted": 3}
    assert [each.value for each in await running.new()] == [EVENT.encode()] * 2
    assert [each.value for each in await running.new("other")] == [view.encode()]
    refused = await running.post("/kinds", f'{EVENT}\n{{"kind":"t"}}\n{{"kind":["click"]}}\n{{"no":1}}', 400)
    assert refused["rejected"] == [
        {"index": 1, "reason": "the topic it names is not allowed here"},
        {"index": 2, "reason": "the topic it names is not allowed here"},
        {"index": 3, "reason": "field 'kind' is missing"},
    ]
    assert refused["accepted"] == 0
    assert await running.new() == []


async def test_a_template_over_the_events_of_a_body(running):
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await running.post("/made/shop", f"{EVENT}\n{EVENT}", traceparent=trace, tracestate="a=b")
    first, second = await running.new()
    assert first.key == "shop-홍길동".encode()
    assert first.headers == [
        ("kind", b"click"), ("app", "웹".encode()), ("traceparent", trace.encode()), ("tracestate", b"a=b"),
    ]  # fmt: skip
    assert (
        f'"n":9007199254740993,"event":{EVENT},"v":2,"ok":true,"none":null,"$":"$now"}}'.encode()
        in first.value
    )
    made = json.loads(first.value)
    assert list(made) == list(BODY_TEMPLATE)
    assert (made["ip"], made["site"], made["page"], made["who"]) == ("192.0.2.7", "shop", None, "홍길동")
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", made["id"])
    assert made["id"] != json.loads(second.value)["id"]
    refused = await running.post("/made/shop", '{"user":{"id":1}}', 400)
    assert refused["rejected"] == [{"index": 0, "reason": "field 'user.n' is missing"}]


async def test_trace_context_passes_through_a_plain_route(running):
    await running.post("/plain", EVENT, traceparent="00-1-2-3")
    (record,) = await running.new()
    assert (record.headers, record.key, record.value) == (
        [("traceparent", b"00-1-2-3")],
        None,
        EVENT.encode(),
    )


async def test_pixel_and_beat(running):
    pixel = await running.http.get("/pixel/shop")
    assert (pixel.status_code, pixel.headers["content-type"]) == (200, "image/gif")
    assert pixel.content.startswith(b"GIF89a\x01\x00\x01\x00")
    assert len(pixel.content) == 43
    assert pixel.headers["cache-control"] == "no-store"
    beat = await running.http.get("/beat?u=%ED%99%8D")
    assert (beat.status_code, beat.content) == (204, b"")
    assert [(each.key, each.value) for each in await running.new()] == [
        (None, b'{"site":"shop"}'),
        ("홍".encode(), '{"u":"홍"}'.encode()),
    ]


async def test_a_form_is_an_object_of_texts(running):
    form = "application/x-www-form-urlencoded"
    await running.post("/plain", "name=%ED%99%8D%EA%B8%B8%EB%8F%99&q=a+%22b%22%0A&empty=", content_type=form)
    assert [each.value for each in await running.new()] == [
        '{"name":"홍길동","q":"a \\"b\\"\\n","empty":""}'.encode()
    ]
    for bad in ("a=%zz", "a=%ff", "a=1&a=2", ""):
        await running.post("/plain", bad, 400, content_type=form)
    assert await running.new() == []


async def test_beacons_and_gzip(running):
    await running.post("/plain", EVENT, content_type="text/plain;charset=UTF-8")
    await running.post("/plain", gzip.compress(f"{EVENT}\n{EVENT}".encode()), content_encoding="gzip")
    await running.post("/queued", gzip.compress(f"[{EVENT}]".encode()), 202, content_encoding="GZIP")
    assert [each.value for each in await running.new()] == [EVENT.encode()] * 4


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        (b"no gzip", 400, "bad encoding"),
        (gzip.compress(b'{"a":1}')[:-4], 400, "bad encoding"),
        (gzip.compress(b'{"a":1}') + b"{}", 400, "bad encoding"),
        (gzip.compress(b'{"a":"' + b"x" * 3000 + b'"}'), 413, "body too large"),
        (gzip.compress(b"\0" * 50_000_000), 413, "body too large"),
    ],
)
async def test_gzip_that_is_not_taken(running, body, status, error):
    path = "/small" if len(body) < 2000 else "/plain"
    assert (await running.post(path, body, status, content_encoding="gzip"))["error"] == error
    assert await running.new() == []


async def test_a_mounted_collector_starts_with_its_first_request(cluster, read_all):
    cluster.create_topic("t", 1)
    running = Running(cluster.bootstrap, read_all)
    await asyncio.gather(*(running.post("/plain", EVENT) for _ in range(5)))
    assert len(await running.new()) == 5
    await running.http.aclose()
    await running.collector.close(1)


def test_what_is_wrong_with_a_route_is_told():
    with pytest.raises(kp.ConfigError) as caught:
        kp.Collector([{"method": "GET", "path": "/a", "topic": "t", "event": {"a": "$path.x"}}], ack="never")
    assert caught.value.message.splitlines() == [
        "collector.ack: Input should be 'kafka' or 'queued'",
        "collector.routes.0: $path.x: the path has no part {x}",
    ]
    route = kp.Route(method="POST", path="/a", topic="t", limits={"body": "2KiB"})
    assert route.limits.body == 2048
