"""The management port: is it alive, does everything work, and the numbers."""

from collections.abc import Mapping
from typing import Protocol

from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from . import metrics


class State(metrics.Source, Protocol):
    """What the management port needs to know of the running program; ``kafkapipe.app`` has it."""

    async def problems(self) -> Mapping[str, str]:
        """Parts outside the pipelines that do not work now, and why: ``{"kafka": "no broker answers"}``."""


def management(state: State) -> Starlette:
    """The ASGI application of the management port."""
    registry = metrics.registry(state)

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        parts: dict[str, str] = {**await state.problems()}
        for name, snapshot in state.pipelines().items():
            if snapshot["state"] != "running":
                parts[f"pipeline {name}"] = ": ".join(filter(None, (snapshot["state"], snapshot["reason"])))
        document = {"ready": not parts, "problems": parts}
        return JSONResponse(document, status_code=503 if parts else 200)

    async def metrics_page(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"content-type": content_type})

    return Starlette(
        routes=[
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/metrics", metrics_page),
        ]
    )
