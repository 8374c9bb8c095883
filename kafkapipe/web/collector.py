"""The collector: an ASGI application that turns requests into records, by the routes of the configuration.

No framework: a request costs one look-up by path, one by method, and what its route does (routes.py). The
server of kafkapipe itself calls ``begin`` and ``Route.take`` below ASGI (direct.py); others, the application.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from time import perf_counter
from types import TracebackType
from typing import Any, Self

from pydantic import ValidationError

from .. import _properties
from .._collecting import CollectorConfig, RouteConfig
from ..errors import ConfigError
from ..producer import Producer
from . import page
from .answers import Answer, Headers, Refusal, answer
from .body import Body, BodyReader, Receive
from .deadline import Deadline
from .delivery import Delivery, Pending
from .direct import Gate
from .duplicates import Duplicates
from .keys import Keys
from .paths import Paths
from .request import Addresses, Request, RequestHeaders, join_headers
from .routes import Route
from .spooler import Spooler
from .stats import CollectorStats

Scope = Mapping[str, Any]
Send = Callable[[dict[str, Any]], Awaitable[None]]

LINGER_SECONDS = 2.0
"""How long the rest of a refused body is read and thrown away, so that its sender gets to see the answer."""


class Collector:
    """An ASGI application: events in, records out. Mounts under Starlette, FastAPI or any ASGI server.

        collector = kp.Collector(
            routes=[kp.Route(method="POST", path="/e/{site}", topic={"by": "$path.site", "allow": ["shop"]})],
            bootstrap="127.0.0.1:9092",
        )
        app = Starlette(routes=[Mount("/collect", collector)], lifespan=collector.lifespan)

    Only the topics that the routes name can be written to. Every refusal is ``{"error": …, "detail": …}``.
    ``options`` are the other options of ``collector`` in a configuration file: ``ack``, ``keys``, ``limits``,
    ``duplicates``, ``signed``, ``trusted_proxies``; what is about connections is for kafkapipe's own server.

    It starts its producer by ASGI's lifespan, as an async context manager, or with the first request; by the
    first two it also closes it. A ``producer`` that is given is its owner's to start and to close.

    :raises ConfigError: one line for each option that is wrong
    """

    _spooler: Spooler | None = None  # the collector's own

    def __init__(
        self,
        routes: Iterable[RouteConfig | Mapping[str, Any]] = (),
        *,
        bootstrap: str | None = None,
        kafka: Mapping[str, str | int | float | bool] | None = None,
        producer: Producer | None = None,
        **options: Any,
    ) -> None:
        config = _config({**options, "routes": list(routes)})
        self._owned = Producer(bootstrap, config=kafka) if producer is None else None
        producer = producer or self._owned
        if config.spool is not None and producer is not None:
            self._spooler = Spooler(config, producer, _properties.collect(bootstrap, kafka, {}))
        self._set_up(config, producer, {}, self._spooler)

    @classmethod
    def from_config(
        cls,
        config: CollectorConfig,
        producer: Producer,
        *,
        spooler: Spooler | None = None,
    ) -> Self:
        """A collector of this part of a configuration file, with the colour page.

        :param producer: started, and closed by its owner after the last request
        :param spooler: takes what Kafka does not take; started, and closed after the producer, by its owner
        """
        self = cls.__new__(cls)
        self._owned = None
        self._set_up(config, producer, page.load(), spooler)
        return self

    def _set_up(
        self,
        config: CollectorConfig,
        producer: Producer | None,
        pages: Mapping[str, Answer],
        spooler: Spooler | None,
    ) -> None:
        assert producer is not None
        self.config = config
        self.stats = CollectorStats()
        ack_seconds = config.ack_timeout / 1000
        self._delivery = Delivery(
            producer, self.stats, ack_seconds=ack_seconds, spool=spooler.spooling if spooler else None
        )
        self._body = BodyReader(Deadline(config.limits.body / 1000))
        self._ack_deadline = Deadline(ack_seconds)
        self._pages = {path.encode(): found for path, found in pages.items()}
        self._starting: asyncio.Future[None] | None = None
        self._places: Paths[dict[str, Route]] = Paths()
        keys, duplicates = Keys(config), Duplicates(config.duplicates)
        address = Addresses(config.trusted_proxies).of
        for each in config.routes:
            queued = (each.ack or config.ack) == "queued"
            route = Route(
                each, self._delivery, queued=queued, keys=keys, duplicates=duplicates, address=address
            )
            self._places.at(each.path, {})[each.method] = route

    @property
    def problem(self) -> str | None:
        """What events were lately refused with by Kafka or the producer; None when they are taken."""
        return self._delivery.health.problem

    @property
    def ack_seconds(self) -> float:
        """How long Kafka may take to confirm."""
        return self._delivery.ack_seconds

    def gate(self) -> Gate:
        """For kafkapipe's own server: the collector, and the limits of its connections."""
        return Gate(self, self.config.limits)

    # its life

    async def start(self) -> None:
        """Start the producer, if it is the collector's own, and the spool; again does nothing."""
        if not self._has_parts:
            return
        if self._starting is None:
            self._starting = asyncio.ensure_future(self._start())
        await asyncio.shield(self._starting)

    @property
    def _has_parts(self) -> bool:
        return self._owned is not None or self._spooler is not None

    async def _start(self) -> None:
        if self._owned is not None:
            await self._owned.start()
        if self._spooler is not None:
            await self._spooler.start()

    async def close(self, timeout: float = 10.0) -> None:  # noqa: ASYNC109 - the producer's own bound
        """Send what is queued, within ``timeout`` seconds, and end the producer, if it is our own."""
        if self._spooler is not None:
            await self._spooler.stop_draining()
        if self._owned is not None:
            await self._owned.close(timeout)
        if self._spooler is not None:
            await self._spooler.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @asynccontextmanager
    async def lifespan(self, _: object = None) -> AsyncIterator[None]:
        """The same as a lifespan of Starlette or FastAPI: ``FastAPI(lifespan=collector.lifespan)``."""
        async with self:
            yield

    async def _live(self, receive: Receive, send: Send) -> None:
        """ASGI's lifespan: https://asgi.readthedocs.io/en/latest/specs/lifespan.html"""
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self.start()
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await self.close()
                await send({"type": "lifespan.shutdown.complete"})
                return

    # a request

    def begin(self, request: Request) -> Answer | None:
        """Judge the head of a request: its answer, when it needs no more; else ``request.route`` is set.

        :raises Refusal:
        """
        parameters: list[bytes] = []
        place = self._places.exact.get(request.path)
        if place is None:
            place, parameters = self._places.find(request.path)
            if place is None:
                return self._elsewhere(request)
        route = place.get(request.method)
        if route is None:
            return self._no_route(place, request)
        request.route = route
        request.more = route.cors.headers(request.headers) if route.more is None else route.more
        route.admit(request, parameters)
        return None

    def refused(self, refusal: Refusal) -> Answer:
        """The answer of a refusal, counted."""
        self.stats.refuse(refusal.error)
        return refusal.answer()

    def count(self, request: Request | None, status: int, seconds: float) -> None:
        """One request was answered."""
        path = ""
        if request is not None and request.route is not None:
            path = request.route.path
        elif request is not None and (status == 204 or request.path in self._pages):
            path = request.path.decode()
        self.stats.count(path, status, seconds)

    def too_late(self) -> Refusal:
        """The refusal of a request whose events Kafka did not confirm in time."""
        return self._delivery.too_late()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection scope."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if scope["type"] != "http":
            raise RuntimeError(f"the collector serves HTTP only, not ASGI {scope['type']!r}")
        started = perf_counter()
        if self._has_parts and (self._starting is None or not self._starting.done()):
            await self.start()
        request = _request(scope)
        abandon = False
        try:
            reply = await self._serve(request, receive)
        except Refusal as refusal:
            reply, abandon = self.refused(refusal), refusal.abandon
        headers = reply.headers + request.more
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        body = b"" if request.method == "HEAD" else reply.body
        await send({"type": "http.response.body", "body": body, "more_body": abandon})
        self.count(request, reply.status, perf_counter() - started)
        if abandon:
            await _drain(receive)
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _serve(self, request: Request, receive: Receive) -> Answer:
        reply = self.begin(request)
        if reply is not None:
            return reply
        assert request.route is not None
        body: Body = b""
        if request.route.takes_body:
            body = await self._body.read(request.route.rules, receive)
        outcome = request.route.take(request, body)
        return await self._wait(outcome) if isinstance(outcome, Pending) else outcome

    async def _wait(self, pending: Pending) -> Answer:
        try:
            with self._ack_deadline:
                await asyncio.wait({pending.future})
        except TimeoutError:
            raise self.too_late() from None
        return pending.finish(pending.future)

    def _no_route(self, routes: Mapping[str, Route], request: Request) -> Answer:
        allow = (b"allow", ", ".join([*routes, "OPTIONS"]).encode())
        if request.method != "OPTIONS":
            # HEAD too: a probe must not be counted as an event, so it cannot be answered as GET would be.
            request.route = next(iter(routes.values()))
            raise _not_allowed(routes, allow)
        wanted = request.headers.get(b"access-control-request-method", b"").decode("latin-1")
        route = routes.get(wanted)
        request.route = route or next(iter(routes.values()))
        more: Headers = route.cors.preflight(request.headers, wanted) if route else []
        return answer(204, b"", allow, *more)

    def _elsewhere(self, request: Request) -> Answer:
        """A page, or nothing."""
        found = self._pages.get(request.path)
        if found is None:
            raise Refusal(404, "not found", "no route has this path")
        if request.method not in ("GET", "HEAD"):
            raise _not_allowed(["GET"], (b"allow", b"GET, HEAD"))
        return found


def _config(options: Mapping[str, Any]) -> CollectorConfig:
    try:
        return CollectorConfig.model_validate(options)
    except ValidationError as error:
        lines = [
            f"collector.{'.'.join(map(str, each['loc']))}: {each['msg'].removeprefix('Value error, ')}"
            for each in error.errors(include_url=False, include_input=False)
        ]
        raise ConfigError("\n".join(lines), op="make collector") from None


def _request(scope: Scope) -> Request:
    path: str = scope["path"].removeprefix(scope.get("root_path", ""))
    headers: RequestHeaders = join_headers(scope["headers"])
    query: bytes = scope["query_string"]
    target = scope.get("raw_path") or scope["path"].encode()
    client = scope.get("client")
    return Request(
        scope["method"],
        path.encode("utf-8", "surrogateescape"),
        query,
        headers,
        client[0] if client else "",
        target + b"?" + query if query else target,
    )


def _not_allowed(methods: Iterable[str], allow: tuple[bytes, bytes]) -> Refusal:
    return Refusal(405, "method not allowed", f"use {' or '.join(methods)}", headers=[allow])


async def _drain(receive: Receive) -> None:
    """Closing a connection with unread data resets it, and the answer is lost with it."""
    try:
        async with asyncio.timeout(LINGER_SECONDS):
            while (await receive()).get("more_body"):
                pass
    except TimeoutError:
        pass
