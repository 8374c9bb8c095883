"""Calls of the core that wait, run beside the event loop."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from .errors import DeadlineError, RetryableError

P = ParamSpec("P")
T = TypeVar("T")

SLICE_SECONDS = 0.2
"""A thread cannot be interrupted: it waits in slices, so that Ctrl-C is answered in time."""

_PAUSE_SECONDS = 0.05  # after an answer that came at once


class Threads:
    """Runs blocking calls in threads, and knows which still run after their caller was cancelled."""

    def __init__(self) -> None:
        self._running: set[asyncio.Future[Any]] = set()

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of this call, made in a thread."""
        task = asyncio.ensure_future(asyncio.to_thread(call, *args, **kwargs))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)

    async def idle(self) -> None:
        """Wait until no call runs any more."""
        if self._running:
            await asyncio.wait(self._running)

    async def ask_until(self, ask: Callable[[int], T], seconds: float) -> T:
        """Call ``ask(milliseconds)`` again, each time for longer; DeadlineError after ``seconds``.

        A try lasts as long as all before it: a slow broker gets its time, and an interrupt waits no longer
        than the caller has waited already.
        """
        start = time.monotonic()
        while True:
            spent = time.monotonic() - start
            left = seconds - spent
            try:
                return await self.run(ask, max(1, int(min(left, max(SLICE_SECONDS, spent)) * 1000)))
            except RetryableError as error:
                await asyncio.sleep(0 if isinstance(error, DeadlineError) else _PAUSE_SECONDS)
                if time.monotonic() - start >= seconds:
                    raise DeadlineError(
                        f"{error.message} (no answer within {seconds:g} s)",
                        op=error.op,
                        code=error.code,
                    ) from None
