"""Calls of the core that wait, run beside the event loop."""

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, ParamSpec, TypeVar

from .errors import DeadlineError, RetryableError

P = ParamSpec("P")
T = TypeVar("T")

SLICE_SECONDS = 0.2
"""How long a call waits at first: who waits for it to end, waits no longer."""
_MOMENT = 0.1


def interrupted() -> bool:
    """Whether the task that runs was cancelled, as Ctrl-C does: it is to end, and not to wait any more."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class Threads:
    """Runs blocking calls in threads, and knows which still run after their caller was cancelled.

    The threads are daemons, not those of the loop's executor: neither the end of the loop nor that of the
    interpreter waits for a broker that does not answer.
    """

    def __init__(self) -> None:
        self._running: dict[asyncio.Future[Any], threading.Thread] = {}

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of this call, made in a thread."""
        return await asyncio.shield(self._start(partial(call, *args, **kwargs)))

    async def idle(self) -> None:
        """Wait until no call runs any more."""
        if self._running:
            await asyncio.wait(self._running)

    async def end(self, close: Callable[[], T], then: Callable[[T], None], *, wait: bool) -> None:
        """Call ``close()`` in a thread once no other call runs, and ``then()`` with what it returns.

        Without ``wait``, as when Ctrl-C ends a program, this returns after a moment, and both are done later.
        """
        others = list(self._running.values())

        def last() -> T:
            for thread in others:
                thread.join()
            return close()

        future = self._start(last)
        future.add_done_callback(lambda ended: then(ended.result()) if ended.exception() is None else None)
        done, _ = await asyncio.wait([future], timeout=None if wait else _MOMENT)
        for each in done:
            each.result()

    async def ask_until(self, ask: Callable[[int], T], seconds: float) -> T:
        """Call ``ask(milliseconds)`` again, each time for longer; DeadlineError after ``seconds``.

        A try lasts as long as all before it: a slow broker gets its time, and who closes the client waits no
        longer than has been waited already.
        """
        start = time.monotonic()
        while True:
            spent = time.monotonic() - start
            left = seconds - spent
            try:
                return await self.run(ask, max(1, int(min(left, max(SLICE_SECONDS, spent)) * 1000)))
            except RetryableError as error:
                if time.monotonic() - start >= seconds:
                    raise DeadlineError(
                        f"{error.message} (no answer within {seconds:g} s)",
                        op=error.op,
                        code=error.code,
                    ) from None

    def _start(self, call: Callable[[], T]) -> asyncio.Future[T]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        thread = threading.Thread(target=_work, args=(loop, future, call), name="kafkapipe", daemon=True)
        self._running[future] = thread
        future.add_done_callback(self._ended)
        thread.start()
        return future

    def _ended(self, future: asyncio.Future[Any]) -> None:
        del self._running[future]
        if not future.cancelled():
            future.exception()  # seen, also when the caller is gone


def _work(loop: asyncio.AbstractEventLoop, future: asyncio.Future[T], call: Callable[[], T]) -> None:
    def succeed(result: T) -> None:
        if not future.done():
            future.set_result(result)

    def fail(error: BaseException) -> None:
        if not future.done():
            future.set_exception(error)

    try:
        settle = partial(succeed, call())
    except BaseException as error:
        settle = partial(fail, error)
    with suppress(RuntimeError):  # the loop is closed: nobody waits
        loop.call_soon_threadsafe(settle)
