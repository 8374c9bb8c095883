"""The server around an application: ports, raw UTF-8 targets, and its end."""

import asyncio
import json
import signal
import socket
import statistics

import httpx
import pytest

from kafkapipe.errors import ConfigError
from kafkapipe.web.server import Server


class Echo:
    """Answers with the query string it got; /wait answers when told to."""

    def __init__(self):
        self.entered = asyncio.Event()
        self.go = asyncio.Event()

    async def __call__(self, scope, receive, send):
        if scope["path"] == "/wait":
            self.entered.set()
            await self.go.wait()
        body = scope["query_string"]
        while scope["path"] == "/body":
            message = await receive()
            body += message["body"]
            if not message["more_body"]:
                break
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [(b"content-length", b"%d" % len(body))],
            }
        )
        await send({"type": "http.response.body", "body": body})


@pytest.fixture
async def echo():
    return Echo()


@pytest.fixture
async def server(echo):
    server = Server(echo, "127.0.0.1:0", option="collector.listen")
    await server.start()
    yield server
    await server.close(0)


async def exchange(server, *pieces):
    """Sends the pieces as packets of their own, and reads until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0.02)  # long enough for a packet of its own
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


def request(target, close=True):
    end = "Connection: close\r\n\r\n" if close else "\r\n"
    return f"GET {target} HTTP/1.1\r\nHost: x\r\n{end}".encode()


async def test_port_zero_takes_a_free_one_and_tells_it(server):
    assert server.port > 0
    assert server.url == f"http://127.0.0.1:{server.port}"
    assert (await exchange(server, request("/?a=1"))).endswith(b"\r\n\r\na=1")


async def test_taken_port_is_one_line_that_names_the_option(server):
    second = Server(Echo(), f"127.0.0.1:{server.port}", option="collector.listen")
    with pytest.raises(ConfigError) as caught:
        await second.bind()
    assert caught.value.message == (
        f"collector.listen: 127.0.0.1:{server.port} is taken by another program: "
        "stop that one, or choose another port"
    )


@pytest.mark.parametrize("listen", ["192.0.2.1:8080", "no-such-host.invalid:8080"])
async def test_an_address_of_another_machine(listen):
    with pytest.raises(ConfigError, match=f"management.listen: {listen} is no address of this machine"):
        await Server(Echo(), listen, option="management.listen").bind()


async def test_raw_utf8_in_the_target_is_percent_encoded(server):
    assert (await exchange(server, request("/?user=홍길동"))).endswith(b"user=%ED%99%8D%EA%B8%B8%EB%8F%99")


async def test_raw_utf8_that_opens_no_packet_is_refused_not_mangled(server):
    raw = request("/?u=홍&x=1")
    assert (await exchange(server, raw[:8], raw[8:])).startswith(b"HTTP/1.1 400 ")
    pipelined = await exchange(server, request("/?a=1", close=False) + raw)
    assert pipelined.count(b"HTTP/1.1 ") == 2
    assert b" 400 " in pipelined


async def test_bodies_are_never_taken_for_request_lines(server):
    body = "GET /?u=홍길동 HTTP/1.1\r\n".encode()
    head = b"POST /body HTTP/1.1\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body)
    for pieces in ([head, body], [head[:20], head[20:], body], [head + body[:15], body[15:]]):
        assert (await exchange(server, *pieces)).endswith(b"\r\n\r\n" + body)


async def test_raw_utf8_on_a_kept_connection(server):
    answer = await exchange(server, request("/?u=가", close=False), request("/?u=나"))
    assert answer.count(b"200 OK") == 2
    assert b"u=%EA%B0%80" in answer
    assert answer.endswith(b"u=%EB%82%98")


async def test_raw_bytes_elsewhere_are_not_touched(server):
    answer = await exchange(
        server, b"GET /?a=1 HTTP/1.1\r\nX-Name: \xed\x99\x8d\r\nConnection: close\r\n\r\n"
    )
    assert answer.endswith(b"\r\n\r\na=1")


async def test_answers_do_not_wait_for_the_clients_delayed_acknowledgement(server):
    """Head and body of an answer are two writes: with Nagle's algorithm the second would come 40 ms later."""
    loop = asyncio.get_running_loop()
    times = []
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as http:
        for number in range(15):
            start = loop.time()
            assert (await http.get(f"/?{number}")).text == str(number)
            times.append(loop.time() - start)
    assert statistics.median(times) < 0.02


async def test_requests_under_way_are_answered_after_stop_accepting(server, echo):
    waiting = asyncio.create_task(exchange(server, request("/wait?under=way", close=False)))
    await echo.entered.wait()
    server.stop_accepting()
    closing = asyncio.create_task(server.close(10))
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        except ConnectionError:
            break
        writer.close()
    assert not closing.done()
    echo.go.set()
    assert (await waiting).endswith(b"under=way")
    await closing


async def test_close_cuts_off_what_takes_too_long(server, echo, caplog):
    waiting = asyncio.create_task(exchange(server, request("/wait", close=False)))
    await echo.entered.wait()
    async with asyncio.timeout(5):
        await server.close(0.05)
    assert await waiting == b""
    assert caplog.records == []


async def test_close_without_start_frees_the_port():
    server = Server(Echo(), "127.0.0.1:0", option="collector.listen")
    await server.bind()
    await server.close()
    again = Server(Echo(), f"127.0.0.1:{server.port}", option="collector.listen")
    await again.bind()
    await again.close()


async def test_signal_handlers_stay_the_callers():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    server = Server(Echo(), "127.0.0.1:0", option="collector.listen")
    await server.start()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    await server.close()


async def test_what_is_no_http_is_refused_in_json(server):
    answer = await exchange(server, b"\x16\x03\x01 hello\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert json.loads(body) == {"error": "bad request", "detail": "this is no HTTP/1.1 request"}
