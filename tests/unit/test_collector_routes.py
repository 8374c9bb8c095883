"""Routing, limits and answers of the collector. What reaches Kafka: tests/flow/test_collector_delivery.py.

The producer here only writes down what it was given, or refuses as told.
"""

import asyncio
import json

import httpx
import pytest

from kafkapipe import _core
from kafkapipe.config import CollectorConfig
from kafkapipe.errors import ClosedError, DeadlineError, FatalError, QueueFull, RejectedError, RetryableError
from kafkapipe.web.collector import Collector

COLOUR = {"colorName": "$query.color", "userName": "$query.user", "agent": "$header.x-agent"}
CONFIG = {
    "routes": [
        {"method": "GET", "path": "/api/select", "topic": "select-color", "cors": ["*"], "event": COLOUR},
        {"method": "POST", "path": "/events/select-color", "topic": "select-color"},
        {"method": "GET", "path": "/both", "topic": "t", "event": {"a": "$query.a"}},
        {"method": "POST", "path": "/both", "topic": "t", "cors": ["https://a.example", "https://b.example"]},
        {"method": "POST", "path": "/queued", "topic": "t", "ack": "queued"},
        {"method": "POST", "path": "/small", "topic": "t", "limits": {"body": 64, "events": 3}},
        {"method": "GET", "path": "/한글", "topic": "t", "event": {"a": "$query.a"}},
    ]
}


def fit(body, max_events):
    spans, problems = _core.split_events(body, max_events)
    return [] if problems else [body[start:end] for start, end in spans]


class Result:
    def __init__(self, count, failed):
        self.count, self.failed, self.delivered = count, failed, count - len(failed)

    def __len__(self):
        return self.count


class Recorder:
    """A producer that writes down; ``refusal`` is raised, ``failed`` and ``delay`` are the delivery's."""

    def __init__(self):
        self.sent = []
        self.refusal = None
        self.failed = []
        self.answer = True

    def on_unwatched_failure(self, tell):
        self.tell = tell

    def post(self, topic, body, max_events):
        events = fit(body, max_events)
        if events:
            outcome = self.try_send_many(topic, events)
            if self.failed:
                asyncio.get_running_loop().call_soon(lambda: self.tell(outcome.result()))
        return len(events)

    def post_watched(self, topic, body, max_events):
        events = fit(body, max_events)
        return self.try_send_many(topic, events) if events else None

    def try_send_many(self, topic, values, *, keys=None, headers=None):
        if self.refusal is not None:
            raise self.refusal
        self.sent += [(topic, bytes(value)) for value in values]
        self.keys, self.headers = keys, headers
        outcome = asyncio.get_running_loop().create_future()
        if self.answer:
            outcome.set_result(Result(len(values), self.failed))
        return outcome


@pytest.fixture
def producer():
    return Recorder()


@pytest.fixture
def collector(producer):
    quick = {"ack_timeout": "50ms", "limits": {"body": "50ms"}}
    return Collector.from_config(CollectorConfig.model_validate({**CONFIG, **quick}), producer)


@pytest.fixture
async def http(collector):
    transport = httpx.ASGITransport(collector)
    async with httpx.AsyncClient(transport=transport, base_url="http://c") as client:
        yield client


async def post(http, body, path="/events/select-color", **headers):
    return await http.post(
        path, content=body, headers={name.replace("_", "-"): v for name, v in headers.items()}
    )


async def test_select_answers_200_with_an_empty_body(http, producer):
    answer = await http.get(
        "/api/select", params={"color": "red", "user": "홍길동"}, headers={"x-agent": "A"}
    )
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["cache-control"] == "no-store"
    assert producer.sent == [
        ("select-color", '{"colorName":"red","userName":"홍길동","agent":"A"}'.encode()),
    ]


async def test_select_names_what_is_missing_and_lets_the_page_read_it(http, producer):
    answer = await http.get("/api/select?color=red&user=", headers={"x-agent": "A"})
    assert answer.status_code == 400
    assert answer.json() == {"error": "missing value", "detail": "missing or empty: query parameter 'user'"}
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert producer.sent == []


async def test_a_header_over_its_limit_is_431(http):
    answer = await http.get("/api/select?color=a&user=b", headers={"x-agent": "A" * 4097})
    assert answer.status_code == 431


EVENTS = [
    '{"userName":"홍길동","n":9007199254740993}'.encode(),
    b'{ "quote" : "\\"\\n" , "x": 1.0e+2 }',
    b"{}",
]


@pytest.mark.parametrize(
    ("body", "events"),
    [
        (EVENTS[0], EVENTS[:1]),
        (b" \r\n" + EVENTS[1] + b"\n", EVENTS[1:2]),
        (b'{\n "laid": "out"\n}', [b'{\n "laid": "out"\n}']),
        (b"[" + b" ,\n".join(EVENTS) + b" ]", EVENTS),
        (b"\n".join(EVENTS), EVENTS),
        (b"\r\n\r\n".join(EVENTS) + b"\r\n", EVENTS),
    ],
)
async def test_events_keep_their_exact_bytes(http, producer, body, events):
    answer = await post(http, body)
    assert (answer.status_code, answer.json()) == (200, {"accepted": len(events)})
    assert producer.sent == [("select-color", event) for event in events]


async def test_queued_answers_202(http, producer):
    answer = await post(http, b"{}\n{}", "/queued")
    assert (answer.status_code, answer.json()) == (202, {"accepted": 2})
    assert producer.sent == [("t", b"{}"), ("t", b"{}")]


@pytest.mark.parametrize(
    ("body", "bad"),
    [
        (b"{} ]", [0]),
        (b'{"a":1}\n{"a":\n{"a":3}', [1]),
        (b'[{"a":1},2,{"a":3},"x"]', [1, 3]),
        (b"123", [0]),
        (b'{"a":NaN}', [0]),
        (b'{"a":"\xed\xa0\x80"}', [0]),
        ('{"a":"홍길동"}'.encode("euc-kr"), [0]),
        (b'\xef\xbb\xbf{"a":1}', [0]),
    ],
)
async def test_one_invalid_event_refuses_the_whole_body_and_is_named(http, producer, body, bad):
    answer = await post(http, body)
    document = answer.json()
    assert (answer.status_code, document["error"], document["accepted"]) == (400, "invalid events", 0)
    assert [each["index"] for each in document["rejected"]] == bad
    assert all(each["reason"] for each in document["rejected"])
    assert document["detail"].startswith(f"event {bad[0]}: {document['rejected'][0]['reason']}")
    assert producer.sent == []


@pytest.mark.parametrize("body", [b"", b" \n ", b"[]"])
async def test_a_body_without_events_is_refused(http, producer, body):
    answer = await post(http, body)
    assert answer.status_code == 400
    assert producer.sent == []


async def test_too_many_events_are_413_and_none_is_taken(http, producer):
    assert (await post(http, b"{}\n{}\n{}", "/small")).status_code == 200
    producer.sent.clear()
    answer = await post(http, b"{}\n{}\n{}\n{}", "/small")
    assert (answer.status_code, answer.json()["error"]) == (413, "too many events")
    assert "3" in answer.json()["detail"]
    assert producer.sent == []


async def test_a_declared_length_over_the_limit_is_413_before_the_body_is_read(http, producer):
    answer = await post(http, b'{"a":"' + b"x" * 100 + b'"}', "/small")
    assert answer.status_code == 413
    assert answer.json() == {"error": "body too large", "detail": "a body here has at most 64 bytes"}
    assert answer.headers["connection"] == "close"


async def test_a_body_at_the_limit_is_taken(http, producer):
    body = b'{"a":"' + b"x" * 56 + b'"}'
    assert len(body) == 64
    assert (await post(http, body, "/small")).status_code == 200


class Conversation:
    """Plays an ASGI server that hands out a body in pieces and notes what comes back."""

    def __init__(self, pieces, *, path="/small", headers=()):
        self.scope = {
            "type": "http", "method": "POST", "path": path, "query_string": b"", "headers": list(headers),
        }  # fmt: skip
        self.pieces = iter(pieces)
        self.handed = 0
        self.handed_before_answer = None
        self.status = None
        self.body = b""
        self.complete = False

    async def receive(self):
        await asyncio.sleep(0)
        piece = next(self.pieces, None)
        if piece is None:
            await asyncio.get_running_loop().create_future()
        self.handed += len(piece)
        return {"type": "http.request", "body": piece, "more_body": True}

    async def send(self, message):
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.handed_before_answer = self.handed
        else:
            self.body += message["body"]
            self.complete = not message.get("more_body", False)


async def test_an_endless_body_is_refused_at_the_limit_and_the_rest_thrown_away(collector, monkeypatch):
    monkeypatch.setattr("kafkapipe.web.collector.LINGER_SECONDS", 0.1)
    talk = Conversation(b"x" for _ in iter(int, 1))
    await collector(talk.scope, talk.receive, talk.send)
    assert (talk.status, talk.complete) == (413, True)
    assert talk.handed_before_answer == 65
    assert talk.handed > talk.handed_before_answer


async def test_a_body_that_does_not_come_is_408(collector, monkeypatch):
    monkeypatch.setattr("kafkapipe.web.collector.LINGER_SECONDS", 0.01)
    talks = [Conversation([b'{"a":']), Conversation([]), Conversation([])]
    async with asyncio.timeout(5):
        await asyncio.gather(*(collector(talk.scope, talk.receive, talk.send) for talk in talks))
    assert [talk.status for talk in talks] == [408] * 3
    assert json.loads(talks[0].body) == {
        "error": "body too slow",
        "detail": "the body did not arrive within 0.05 s",
    }


async def test_a_closed_connection_sends_nothing_to_kafka(collector, producer):
    talk = Conversation([b'{"a":1}'])
    messages = iter([await talk.receive(), {"type": "http.disconnect"}, {"type": "http.disconnect"}])

    async def receive():
        return next(messages)

    await collector(talk.scope, receive, talk.send)
    assert producer.sent == []


async def test_cancelling_a_request_from_outside_is_no_timeout(collector):
    talk = Conversation([b"{"])
    task = asyncio.create_task(collector(talk.scope, talk.receive, talk.send))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json", 200),
        ("Application/JSON; charset=utf-8", 200),
        ("application/x-ndjson", 200),
        ("application/cloudevents+json", 200),
        ("text/plain;charset=UTF-8", 200),
        ("application/x-www-form-urlencoded", 200),
        ("multipart/form-data; boundary=x", 415),
        ("text/html", 415),
    ],
)
async def test_content_types(http, kind, status):
    assert (await post(http, b"{}", content_type=kind)).status_code == status


async def test_encodings_other_than_gzip_are_refused(http):
    answer = await post(http, b"\x1f\x8b", content_encoding="br")
    assert (answer.status_code, answer.headers["accept-encoding"]) == (415, "gzip, identity")


@pytest.mark.parametrize(
    "path", ["/nothing", "/api/select/", "/events/other", "/events/__consumer_offsets", "//"]
)
async def test_other_paths_are_404_in_json(http, producer, path):
    answer = await http.request("POST", f"http://c{path}", content=b"{}")
    assert (answer.status_code, answer.json()["error"]) == (404, "not found")
    assert producer.sent == []


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("POST", "/api/select", "GET, OPTIONS"),
        ("HEAD", "/api/select?color=a&user=b", "GET, OPTIONS"),
        ("GET", "/events/select-color", "POST, OPTIONS"),
        ("DELETE", "/both", "GET, POST, OPTIONS"),
        ("POST", "/", "GET, HEAD"),
    ],
)
async def test_other_methods_are_405_with_allow(http, producer, method, path, allow):
    answer = await http.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allow)
    assert producer.sent == []


async def test_cors_matches_origins_exactly(http):
    granted = await post(http, b"{}", "/both", origin="https://b.example")
    assert granted.headers["access-control-allow-origin"] == "https://b.example"
    for origin in ("https://b.example.evil", "http://b.example", "null"):
        other = await post(http, b"{}", "/both", origin=origin)
        assert "access-control-allow-origin" not in other.headers
        assert other.headers["vary"] == "origin"
    assert "access-control-allow-origin" not in (await post(http, b"{}", origin="https://a.example")).headers


async def preflight(http, path, method, origin="https://a.example"):
    return await http.options(path, headers={"origin": origin, "access-control-request-method": method})


async def test_preflight(http, producer):
    answer = await preflight(http, "/api/select", "GET")
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["access-control-allow-methods"] == "GET"
    assert answer.headers["access-control-allow-headers"] == "content-type, x-agent"
    assert answer.headers["access-control-max-age"] == "86400"
    assert "access-control-allow-origin" in (await preflight(http, "/both", "POST")).headers
    assert "access-control-allow-origin" not in (await preflight(http, "/both", "GET")).headers
    assert "access-control-allow-methods" not in (await preflight(http, "/both", "POST", "https://c")).headers
    assert producer.sent == []


@pytest.mark.parametrize(
    ("refusal", "detail"),
    [
        (QueueFull("produce: no room"), "the queue to Kafka is full; none was taken"),
        (ClosedError("closed"), "the collector is stopping; none was taken"),
        (FatalError("10.0.0.7:9092 fenced"), "Kafka cannot be written to; none was taken"),
    ],
)
async def test_kafka_that_cannot_take_more_is_503_with_retry_after(http, producer, refusal, detail):
    producer.refusal = refusal
    answer = await post(http, b"{}")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json() == {"error": "kafka unavailable", "detail": detail}


async def test_no_answer_from_kafka_is_503_and_says_that_the_events_may_arrive(http, producer, collector):
    producer.answer = False
    answer = await post(http, b"{}")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["detail"] == "Kafka did not confirm within 0.05 s; the events may still arrive"
    assert collector.problem == answer.json()["detail"]
    producer.answer = True
    assert (await post(http, b"{}")).status_code == 200
    assert collector.problem is None


async def test_a_batch_half_taken_says_so(http, producer, collector):
    producer.failed = [
        (1, RetryableError("broker 10.0.0.7:9092 is away", code="TRANSPORT")),
        (2, DeadlineError("produce: 10.0.0.7 timed out", code="MSG_TIMED_OUT")),
    ]
    answer = await post(http, b"{}\n{}\n{}")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json() == {
        "error": "kafka unavailable",
        "detail": "2 of 3 events were not taken",
        "accepted": 1,
        "rejected": [
            {"index": 1, "reason": "Kafka could not take it"},
            {"index": 2, "reason": "not confirmed in time"},
        ],
    }
    assert collector.problem == "broker 10.0.0.7:9092 is away"
    assert collector.stats.events_accepted == 1


async def test_an_event_larger_than_the_topic_takes_is_413(http, producer, collector):
    producer.failed = [(0, RejectedError("too large", code="MSG_SIZE_TOO_LARGE"))]
    answer = await post(http, b"{}")
    assert answer.status_code == 413
    assert answer.json()["rejected"] == [{"index": 0, "reason": "larger than the topic takes"}]
    assert "retry-after" not in answer.headers
    assert collector.problem is None


async def test_queued_events_that_kafka_refuses_later_are_counted(http, producer, collector):
    producer.failed = [(0, RejectedError("no", code="TOPIC_AUTHORIZATION_FAILED"))]
    assert (await post(http, b"{}", "/queued")).status_code == 202
    await asyncio.sleep(0)
    assert (collector.stats.events_lost, collector.problem) == (1, "no")


async def test_page_is_served_with_a_strict_policy(http):
    page = await http.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert 'id="user_name"' in page.text
    for path in ("/page.js", "/page.css"):
        assert path[1:] in page.text
        assert (await http.get(path)).status_code == 200
    head = await http.head("/")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == page.headers["content-length"]


async def test_korean_paths(http, producer):
    assert (await http.get("/한글?a=1")).status_code == 200


async def test_mounted_below_a_path(collector, producer):
    transport = httpx.ASGITransport(collector, root_path="/collect")
    async with httpx.AsyncClient(transport=transport, base_url="http://c/collect") as client:
        assert (await client.get("/")).status_code == 200
        assert (await client.post("/events/select-color", content=b"{}")).status_code == 200


async def test_requests_are_counted_by_path_and_status(http, collector):
    await post(http, b"{}\n{}")
    await post(http, b"x")
    await http.get("/nothing")
    await http.get("/nothing/else")
    assert collector.stats.requests == {
        ("/events/select-color", 200): 1,
        ("/events/select-color", 400): 1,
        ("", 404): 2,
    }
    assert collector.stats.refusals == {"invalid events": 1, "not found": 2}
    assert collector.stats.events_accepted == 2
    assert sum(collector.stats.latency_counts) == 4
