"""The collector: an ASGI application that turns requests into records, by the routes of the configuration.

No framework: a request costs one look-up by path, one by method, and what its route does (routes.py).
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Any

from . import page
from .answers import Answer, Headers, Refusal, answer
from .body import BodyReader, Receive, RequestHeaders
from .deadline import Deadline
from .delivery import Delivery
from .routes import BodyRoute, Route, Scope, TemplateRoute
from .stats import CollectorStats

if TYPE_CHECKING:
    from ..config import CollectorConfig, RouteConfig
    from ..producer import Producer

Send = Callable[[dict[str, Any]], Awaitable[None]]

BODY_SECONDS = 30.0
"""How long the body of a request may take to arrive."""
ACK_SECONDS = 10.0
"""How long Kafka may take to confirm before the request is answered with 503."""
LINGER_SECONDS = 2.0
"""How long the rest of a refused body is read and thrown away, so that its sender gets to see the answer."""


class Collector:
    """An ASGI application: events in, records out.

    Only the topics that the routes name can be written to. Every refusal is ``{"error": …, "detail": …}``.

    :param producer: started, and closed by its owner after the last request
    """

    def __init__(
        self,
        config: "CollectorConfig",
        producer: "Producer",
        *,
        body_seconds: float = BODY_SECONDS,
        ack_seconds: float = ACK_SECONDS,
    ) -> None:
        self.stats = CollectorStats()
        self._delivery = Delivery(producer, self.stats, ack_seconds=ack_seconds)
        self._body_deadline = Deadline(body_seconds)
        self._pages = page.load()
        self._places: dict[str, dict[str, Route]] = {}
        for route in config.routes:
            queued = (route.ack or config.ack) == "queued"
            self._places.setdefault(route.path, {})[route.method] = self._route(route, queued=queued)

    @property
    def problem(self) -> str | None:
        """What events were lately refused with by Kafka or the producer; None when they are taken."""
        return self._delivery.health.problem

    def _route(self, config: "RouteConfig", *, queued: bool) -> Route:
        if config.event is not None:
            return TemplateRoute(config, self._delivery, queued=queued)
        body = BodyReader(config.limits.body, self._body_deadline)
        return BodyRoute(config, self._delivery, body, queued=queued)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection scope."""
        if scope["type"] != "http":
            raise RuntimeError(f"the collector serves HTTP only, not ASGI {scope['type']!r}")
        started = perf_counter()
        path: str = scope["path"].removeprefix(scope.get("root_path", ""))
        headers = dict(scope["headers"])
        routes = self._places.get(path)
        more: Headers = []
        abandon = False
        if routes is not None:
            reply, more, abandon = await self._take(routes, scope, headers, receive)
        else:
            reply = self._elsewhere(scope["method"], path)
            path = path if reply.status == 200 else ""
        await send({"type": "http.response.start", "status": reply.status, "headers": reply.headers + more})
        body = b"" if scope["method"] == "HEAD" else reply.body
        await send({"type": "http.response.body", "body": body, "more_body": abandon})
        self.stats.count(path, reply.status, perf_counter() - started)
        if abandon:
            await _drain(receive)
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _take(
        self, routes: Mapping[str, Route], scope: Scope, headers: RequestHeaders, receive: Receive
    ) -> tuple[Answer, Headers, bool]:
        """The answer, the headers to add to it, and whether the connection is to be given up after it."""
        route = routes.get(scope["method"])
        if route is None:
            return *self._no_route(routes, scope["method"], headers), False
        more = route.cors.headers(headers)
        try:
            return await route(scope, headers, receive), more, False
        except Refusal as refusal:
            return self._refuse(refusal), more, refusal.abandon

    def _no_route(
        self, routes: Mapping[str, Route], method: str, headers: RequestHeaders
    ) -> tuple[Answer, Headers]:
        allow = (b"allow", ", ".join([*routes, "OPTIONS"]).encode())
        if method != "OPTIONS":
            # HEAD too: a probe must not be counted as an event, so it cannot be answered as GET would be.
            return self._refuse(_not_allowed(routes, allow)), []
        wanted = headers.get(b"access-control-request-method", b"").decode("latin-1")
        route = routes.get(wanted)
        return answer(204, b"", allow), route.cors.preflight(headers, wanted) if route else []

    def _elsewhere(self, method: str, path: str) -> Answer:
        """The page, or nothing."""
        found = self._pages.get(path)
        if found is None:
            return self._refuse(Refusal(404, "not found", "no route has this path"))
        if method not in ("GET", "HEAD"):
            return self._refuse(_not_allowed(["GET"], (b"allow", b"GET, HEAD")))
        return found

    def _refuse(self, refusal: Refusal) -> Answer:
        self.stats.refuse(refusal.error)
        return refusal.answer()


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
