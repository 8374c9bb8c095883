"""Who may write, how often, and what becomes of an event that is sent twice."""

import asyncio
import hashlib
import hmac
import logging
import shutil
import subprocess
import time

import httpx
import pytest

import kafkapipe as kp
from kafkapipe._collecting import CollectorConfig
from kafkapipe.web import keys
from kafkapipe.web.collector import Collector
from kafkapipe.web.server import Server

EVENT = '{"id":"가-1","userName":"홍길동"}'.encode()
OLD, NEW, OTHER = "canary-secret-old-0001", "canary-secret-new-0002", "canary-secret-other-03"
OPTIONS = {
    "routes": [
        {"method": "POST", "path": "/keyed", "topic": "t", "auth": "key", "cors": ["https://a.example"]},
        {"method": "POST", "path": "/both", "topic": "t", "auth": "key"},
        {"method": "POST", "path": "/signed", "topic": "t", "auth": "signed"},
        {"method": "POST", "path": "/once", "topic": "t", "event_id": "$body.id"},
        {"method": "POST", "path": "/header", "topic": "t", "event_id": "$header.idempotency-key?"},
        {"method": "POST", "path": "/once-queued", "topic": "t", "event_id": "$body.id", "ack": "queued"},
        {"method": "POST", "path": "/kinds", "topic": {"by": "$body.k", "allow": ["t", "other"]}},
    ],
    "keys": {
        "web": {"secrets": [OLD, NEW], "rate": {"per_second": 1, "burst": 20}},
        "other": {"secrets": OTHER, "routes": ["/both", "/signed"]},
    },
}  # fmt: skip


class Running:
    def __init__(self, cluster, read_all, **properties):
        self.producer = kp.Producer(cluster.bootstrap, config={"linger.ms": 1, **properties})
        config = CollectorConfig.model_validate(OPTIONS)
        self.collector = Collector.from_config(config, self.producer)
        self.server = Server(
            self.collector, "127.0.0.1:0", option="collector.listen", gate=self.collector.gate()
        )
        self._read_all = read_all

    async def __aenter__(self):
        await self.producer.start()
        await self.server.start()
        self.http = httpx.AsyncClient(base_url=self.server.url, trust_env=False)
        return self

    async def __aexit__(self, *exc):
        await self.http.aclose()
        await self.server.close(1)
        await self.producer.close(1)

    async def post(self, path, body=EVENT, **headers):
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = await self.http.post(path, content=body, headers=sent)
        return answer.status_code, answer.json()

    async def values(self, topic="t"):
        await self.producer.flush()
        return [each.value for each in await asyncio.to_thread(self._read_all, topic)]


@pytest.fixture
async def running(cluster, read_all):
    for topic in ("t", "other"):
        cluster.create_topic(topic, 1)
    async with Running(cluster, read_all) as running:
        yield running


# keys


async def test_every_secret_of_a_key_opens_its_routes(running):
    for secret in (OLD, NEW):
        assert await running.post("/keyed", authorization=f"Bearer {secret}") == (200, {"accepted": 1})
        assert await running.post("/keyed", x_write_key=secret) == (200, {"accepted": 1})
    assert await running.post("/both", authorization=f"bearer {OTHER}") == (200, {"accepted": 1})
    status, document = await running.post("/keyed", authorization=f"Bearer {OTHER}")
    assert (status, document["error"]) == (403, "not allowed")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer"},
        {"authorization": f"Basic {OLD}"},
        {"authorization": f"Bearer {OLD}x"},
        {"authorization": f"Bearer {OLD[:-1]}"},
        {"x_write_key": ""},
        {"x_write_key": "web"},
    ],
)
async def test_without_a_key_nothing_is_taken(running, headers):
    answer = await running.http.post(
        "/keyed", content=EVENT, headers={k.replace("_", "-"): v for k, v in headers.items()}
    )
    assert (answer.status_code, answer.json()["error"]) == (401, "not authorized")
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert await running.values() == []


async def test_a_page_may_send_its_key(running):
    asked = {"origin": "https://a.example", "access-control-request-method": "POST"}
    answer = await running.http.options("/keyed", headers=asked)
    assert "authorization" in answer.headers["access-control-allow-headers"]
    assert answer.headers["access-control-max-age"] == "86400"


async def test_a_key_has_its_own_rate(running):
    assert (await running.post("/keyed", b"{}\n" * 20, x_write_key=OLD))[0] == 200
    status, document = await running.post("/keyed", x_write_key=NEW)
    assert (status, document["error"]) == (429, "too many requests")
    assert (await running.post("/both", x_write_key=OTHER))[0] == 200


async def test_secrets_are_nowhere_to_be_seen(running, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    said = []
    for headers in ({"x_write_key": OLD + "x"}, {"authorization": f"Bearer {OTHER}"}, {"x_write_key": OLD}):
        said.append(str(await running.post("/keyed", **headers)))
    said.append(str(await running.post("/signed", **signed(b"{}", secret=OLD + "x"))))
    config = running.collector.config
    said += [repr(config), str(config), config.model_dump_json(), repr(vars(running.collector)), caplog.text]
    said += [repr(vars(next(iter(running.collector._places.exact.values()))["POST"])), *capfd.readouterr()]
    with pytest.raises(kp.ConfigError) as caught:
        kp.Collector(keys={"a": {"secrets": ["canary-short"], "routes": [OLD]}})
    said.append(str(caught.value))
    assert "canary" not in "".join(said)


# signed requests


def signed(body, *, secret=OLD, key="web", moment=None, target="/signed", method="POST", tampered=None):
    moment = str(int(time.time()) if moment is None else moment)
    message = f"{moment}.{method}.{target}.".encode() + body
    signature = hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()
    return {
        "x_kafkapipe_key": key,
        "x_kafkapipe_time": moment,
        "x_kafkapipe_signature": tampered or signature,
    }


async def test_a_signed_request_is_taken_once(running):
    headers = signed(EVENT)
    assert await running.post("/signed", **headers) == (200, {"accepted": 1})
    status, document = await running.post("/signed", **headers)
    assert (status, document["detail"]) == (401, "this signed request was taken before")
    upper = {**signed(EVENT, secret=NEW), "x_kafkapipe_time": headers["x_kafkapipe_time"]}
    upper = signed(EVENT, secret=NEW, moment=int(headers["x_kafkapipe_time"]))
    upper["x_kafkapipe_signature"] = upper["x_kafkapipe_signature"].upper()
    assert (await running.post("/signed", **upper))[0] == 200
    assert (await running.post("/signed?a=%20b", **signed(EVENT, target="/signed?a=%20b")))[0] == 200
    assert await running.values() == [EVENT] * 3


@pytest.mark.parametrize(
    "headers",
    [
        {},
        signed(EVENT + b" "),
        signed(EVENT, secret=OTHER),
        signed(EVENT, key="nobody"),
        signed(EVENT, target="/both"),
        signed(EVENT, method="GET"),
        signed(EVENT, moment=0),
        signed(EVENT, tampered="0" * 64),
        {**signed(EVENT), "x_kafkapipe_time": "now"},
    ],
)
async def test_another_signature_is_refused(running, headers):
    status, document = await running.post("/signed", **headers)
    assert (status, document["error"]) == (401, "not authorized")
    assert await running.values() == []


async def test_a_signed_request_that_was_not_taken_may_come_again(running, cluster):
    headers = signed(b"{")
    assert (await running.post("/signed", b"{", **headers))[0] == 400
    assert (await running.post("/signed", b"{", **headers))[0] == 400


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is missing")
async def test_the_documented_line_works(running):
    lines = [line.strip() for line in keys.__doc__.splitlines()]
    start = next(number for number, line in enumerate(lines) if line.startswith("time=$(date"))
    script = (
        "\n".join(lines[start:])
        .replace("/events", "/signed")
        .replace("http://127.0.0.1:8080", running.server.url)
    )
    shell = await asyncio.create_subprocess_exec(
        "sh", "-c", script, env={"SECRET": OLD, "PATH": "/usr/bin:/bin"}, stdout=subprocess.PIPE
    )
    assert (await shell.communicate())[0] == b'{"accepted":1}'


# duplicates


async def test_a_repeated_event_is_answered_as_before_and_produced_once(running):
    for _ in range(3):
        assert await running.post("/once") == (200, {"accepted": 1})
    other = '{"id":"가-2"}'.encode()
    assert await running.post("/once", b"\n".join([EVENT, other, EVENT, other])) == (200, {"accepted": 4})
    assert await running.post("/once-queued") == (202, {"accepted": 1})  # another route, another id
    assert await running.values() == [EVENT, other, EVENT]


async def test_a_header_names_a_whole_body(running):
    body = b'{"n":1}\n{"n":2}'
    for _ in range(2):
        assert await running.post("/header", body, idempotency_key="k-1") == (200, {"accepted": 2})
    for _ in range(2):
        assert await running.post("/header", b'{"n":3}') == (200, {"accepted": 1})
    assert await running.values() == [b'{"n":1}', b'{"n":2}', b'{"n":3}', b'{"n":3}']


async def test_repeats_at_the_same_time_wait_for_the_first(running):
    found = await asyncio.gather(*(running.post("/once") for _ in range(20)))
    assert found == [(200, {"accepted": 1})] * 20
    assert await running.values() == [EVENT]


async def test_an_event_that_was_not_taken_may_come_again(cluster, read_all):
    cluster.create_topic("t", 1)
    properties = {"message.max.bytes": 1000}
    async with Running(cluster, read_all, **properties) as running:
        large = b'{"id":1,"x":"%s"}' % (b"x" * 2000)
        small = b'{"id":1}'
        status, document = await running.post("/once", b"\n".join([b'{"id":0}', large]))
        assert (status, document["accepted"], [each["index"] for each in document["rejected"]]) == (
            413,
            1,
            [1],
        )
        assert await running.post("/once", small) == (200, {"accepted": 1})
        assert await running.values() == [b'{"id":0}', small]


# what Kafka does not take


async def test_a_batch_for_two_topics_of_which_one_is_not_taken_says_so(cluster, read_all):
    for topic in ("t", "other"):
        cluster.create_topic(topic, 1)
    async with Running(cluster, read_all, **{"queue.buffering.max.messages": 3}) as running:
        body = b"\n".join([b'{"k":"t"}'] * 2 + [b'{"k":"other"}'] * 2)
        status, document = await running.post("/kinds", body)
        assert (status, document["accepted"]) == (503, 2)
        assert [each["index"] for each in document["rejected"]] == [2, 3]
        assert len(await running.values("t")) == 2
