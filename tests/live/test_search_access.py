"""Who may write, and over which connection: TLS and credentials, at a proxy before the real Elasticsearch.

The published jars have no security of their own; the proxy asks for what a secured cluster asks for.
"""

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
import trustme

import kafkapipe as kp
from kafkapipe.check import check
from kafkapipe.config import loads
from kafkapipe.errors import FatalError
from kafkapipe.stack import Stack

pytestmark = [pytest.mark.live, pytest.mark.asyncio(loop_scope="session")]
TOPIC = "search-access"
PASSWORD = "비밀번호 geheim"
BASIC = "Basic " + base64.b64encode(f"kim:{PASSWORD}".encode()).decode()


class Proxy:
    """Passes requests on that carry the right Authorization, and answers 401 to the others."""

    def __init__(self, upstream: str, authorization: str) -> None:
        self.asked = 0
        self.refused = 0
        self._upstream = httpx.AsyncClient(base_url=upstream, trust_env=False, timeout=60)
        self._authorization = authorization

    @asynccontextmanager
    async def listen(self, context: ssl.SSLContext | None) -> AsyncIterator[str]:
        """Its address while it serves; with a context over TLS."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        port = server.sockets[0].getsockname()[1]
        async with server, self._upstream:
            yield f"{'https' if context else 'http'}://localhost:{port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                await self._answer(head, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            writer.close()

    async def _answer(self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        method, target, _ = first.split(" ")
        self.asked += 1
        if headers.get("authorization") != self._authorization:
            self.refused += 1
            status, content = "401 Unauthorized", b'{"error":{"type":"security_exception","reason":"unable to authenticate user [kim]"},"status":401}'  # fmt: skip  # noqa: E501
        else:
            kept = {"content-type": headers["content-type"]} if "content-type" in headers else {}
            answer = await self._upstream.request(method, target, content=body, headers=kept)
            status, content = f"{answer.status_code} {answer.reason_phrase}", answer.content
        writer.write(f"HTTP/1.1 {status}\r\ncontent-length: {len(content)}\r\n\r\n".encode() + content)
        await writer.drain()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Who signs the proxy's certificate and the clients'."""
    return trustme.CA()


@pytest.fixture(scope="module")
def files(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ca.pem, client.pem (certificate and key), and other.pem, an authority that signed nothing here."""
    folder = tmp_path_factory.mktemp("certificates")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    trustme.CA().cert_pem.write_to_path(folder / "other.pem")
    authority.issue_cert("kafkapipe@example").private_key_and_cert_chain_pem.write_to_path(
        folder / "client.pem"
    )
    return folder


def server_side(authority: trustme.CA, *, ask_for_certificate: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    if ask_for_certificate:
        authority.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def topic(stack: Stack) -> str:
    """Three records."""
    async with kp.Admin(stack.bootstrap) as admin:
        await admin.create_topic(TOPIC, partitions=1)
        await admin.create_topic(f"{TOPIC}.dlq", partitions=1)
    async with kp.Producer(stack.bootstrap) as producer:
        await producer.send_many(TOPIC, [f'{{"n": {number}}}' for number in range(3)])
    return TOPIC


def pipeline(stack: Stack, topic: str, url: str, index: str, **options: Any) -> kp.Pipeline:
    return kp.Pipeline(
        topics=[topic],
        sink=kp.Elasticsearch(**{"url": url, "index": index, "flush": {"age": "20ms"}, **options}),
        kafka={"bootstrap.servers": stack.bootstrap},
        group=index,
        dead_letter={"topic": f"{topic}.dlq"},
    )


async def count(stack: Stack, index: str) -> int:
    async with httpx.AsyncClient(base_url=stack.search_url, trust_env=False) as http:
        await http.post(f"/{index}/_refresh")
        return int((await http.get(f"/{index}/_count")).json().get("count", 0))


@pytest.mark.parametrize(
    ("authorization", "options"),
    [
        (BASIC, {"user": "kim", "password": PASSWORD}),
        ("ApiKey a2V5OmdlaGVpbQ==", {"api_key": "a2V5OmdlaGVpbQ=="}),
        ("Bearer abc.def", {"token": "abc.def"}),
    ],
)
async def test_credentials_over_tls_with_a_client_certificate(  # noqa: PLR0917 - fixtures and a case
    stack: Stack, topic: str, authority: trustme.CA, files: Path, authorization: str, options: dict[str, Any]
) -> None:
    index = f"access-{next(iter(options))}"
    proxy = Proxy(stack.search_url, authorization)
    tls = {"ca": str(files / "ca.pem"), "cert": str(files / "client.pem")}
    async with proxy.listen(server_side(authority, ask_for_certificate=True)) as url:
        async with pipeline(stack, topic, url, index, tls=tls, **options) as running:
            await asyncio.wait_for(running.drained(), 60)
        (item,) = await looked_at(stack, url, tls=tls, **options)
        assert item.ok
    assert await count(stack, index) == 3
    assert proxy.refused == 0


async def looked_at(stack: Stack, url: str, **sink: Any) -> list[Any]:
    """What ``kafkapipe check`` finds about the sink."""
    text = f"pipelines: {{a: {{topics: [t], sink: { ({'type': 'elasticsearch', 'url': url, **sink})!r}}}}}"
    found = await check(loads(text, bootstrap=stack.bootstrap))
    return [item for item in found if ".sink" in item.name]


async def test_a_wrong_password_stops_with_one_error_and_dead_letters_nothing(
    stack: Stack, topic: str, authority: trustme.CA, files: Path
) -> None:
    proxy = Proxy(stack.search_url, BASIC)
    options = {"user": "kim", "password": "wrong-geheim", "tls": {"ca": str(files / "ca.pem")}}
    async with proxy.listen(server_side(authority)) as url:
        async with pipeline(stack, topic, url, "access-wrong", **options) as running:
            with pytest.raises(FatalError) as caught:
                await asyncio.wait_for(running.run(), 60)
            seen = running.snapshot()
        assert str(caught.value).count("unable to authenticate user [kim]") == 1
        assert "geheim" not in str(caught.value) + repr(seen)
        assert (seen["state"], seen["dead_letters"], seen["rejected"]) == ("failed", 0, 0)
        assert proxy.asked <= 2  # a request of each that may be under way: no storm
        (item,) = await looked_at(stack, url, **options)
        assert (item.ok, item.detail) == (False, "HTTP 401")
        assert "user and password" in item.advice
    async with pipeline(stack, topic, stack.search_url, "access-wrong") as running:  # nothing was committed
        await asyncio.wait_for(running.drained(), 60)
    assert await count(stack, "access-wrong") == 3


async def test_a_server_that_is_not_trusted_gets_nothing_and_the_state_says_so(
    stack: Stack, topic: str, authority: trustme.CA, files: Path
) -> None:
    proxy = Proxy(stack.search_url, BASIC)
    options = {"user": "kim", "password": PASSWORD, "tls": {"ca": str(files / "other.pem")}}
    async with proxy.listen(server_side(authority)) as url:
        async with pipeline(stack, topic, url, "access-untrusted", **options) as running:
            async with asyncio.timeout(60):
                while (seen := running.snapshot())["state"] != "paused":  # noqa: ASYNC110 - no event of it
                    await asyncio.sleep(0.02)
            assert "certificate" in seen["reason"]
            await running.stop(0)
        (item,) = await looked_at(stack, url, **options)
        assert "certificate" in item.detail.lower()
        missing = await looked_at(stack, url, **{**options, "tls": {"ca": str(files / "none.pem")}})
        assert "none.pem" in missing[0].detail
    assert proxy.asked == 0
