"""Transactions of a producer: messages that readers of committed data see all at once, or never."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from . import _core
from ._core import Batch
from ._threads import Threads
from .errors import ClosedError, DeadlineError, FatalError, KafkaPipeError, RejectedError, RetryableError

_LATE_SECONDS = 1.0  # that the library may take longer than it was told


class Transaction:
    """What is sent within ``async with producer.transaction():`` is committed together, or not at all.

    The end of the block commits. An exception in it, a cancellation too, aborts and goes on to the caller;
    messages without a result fail with RetryableError then. Each step takes at most ``timeout`` seconds.

    Entering and leaving raise RetryableError when the transaction was aborted and can be done again as a
    whole, RejectedError when a message of it will never be accepted (aborted, too), FatalError when another
    producer with the same ``transactional_id`` was started (code ``_FENCED``) or this one cannot go on, and
    DeadlineError when a commit had no answer in time: it may still happen. ``await transaction.commit()``
    goes on waiting then; no other transaction begins before.
    """

    def __init__(self, owner: "Transactions", core: Callable[[], _core.Producer], timeout: float) -> None:
        self._owner = owner
        self._core = core
        self._timeout = timeout

    async def commit(self) -> None:
        """Go on with a commit that had no answer in time; the end of the block does this by itself."""
        await self._owner.commit(self._core(), self, self._timeout)

    async def send_offsets(self, batch: Batch, timeout: float = 10.0) -> None:  # noqa: ASYNC109
        """Move the group of this batch's consumer to its end, if and when the transaction is committed.

        So what was read, and what was made of it, count once: after an abort the batch can be done again.
        The consumer has ``group=`` and no ``enable_auto_commit``; readers behind it are right with
        ``isolation_level="read_committed"``, which is the default.

        Raises RejectedError when a partition was taken away since the batch was read: its next owner reads
        it again, so go on with the next batch. The transaction is aborted after any error.
        """
        await self._owner.send_offsets(self._core(), self, batch, timeout)

    async def send_position(self, group: str, topic: str, position: int, timeout: float = 10.0) -> None:  # noqa: ASYNC109
        """Keep a number of a source that is not Kafka, if and when the transaction is committed.

        It becomes the offset of ``group`` at partition 0 of ``topic``: read it with a consumer's
        ``committed``, go on from there, and each record of the source counts once. The group has no members.
        """
        await self._owner.send_position(self._core(), self, (group, topic, position), timeout)

    async def __aenter__(self) -> Self:
        await self._owner.begin(self._core(), self, self._timeout)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            await self.commit()
        else:
            await self._owner.abort(self, self._timeout, error)


class Transactions:
    """The transactions of one producer, at most one at a time; no class for users.

    Whoever waits may be cancelled; what was begun is done all the same, in a task of its own.
    """

    def __init__(
        self, threads: Threads, flushed: Callable[[_core.Producer, float | None], Awaitable[bool]]
    ) -> None:
        self._threads = threads
        self._flushed = flushed
        self._core: _core.Producer | None = None
        self._open: Transaction | None = None
        self._task: asyncio.Task[None] | None = None  # that begins or ends one
        self._broken: KafkaPipeError | None = None  # why the open one must not be committed
        self._leftover = False  # the library has one open that nobody knows any more

    async def begin(self, core: _core.Producer, transaction: Transaction, timeout: float) -> None:  # noqa: ASYNC109
        self._core = core
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=timeout)
        if self._open is not None or self._task is not None:
            raise RejectedError(
                "begin transaction: the one before is open, or its commit has no result yet: a producer has "
                "one at a time",
                op="begin transaction",
                code="_STATE",
            )
        self._open = transaction
        self._broken = None
        try:
            await self._alone(self._begin(core, timeout))
        except asyncio.CancelledError:
            self._forget_later(core, timeout)
            raise
        except BaseException:
            self._open = None
            raise

    async def commit(self, core: _core.Producer, transaction: Transaction, timeout: float) -> None:  # noqa: ASYNC109
        self._must_be_open(transaction, "commit transaction")
        await self._alone(self._commit(core, timeout))

    async def abort(
        self,
        transaction: Transaction,
        timeout: float,  # noqa: ASYNC109
        error: BaseException | None,
    ) -> None:
        """FatalError when this tells more than ``error``, which is on its way to the caller."""
        if self._open is transaction and self._core is not None:
            try:
                await self._alone(self._abort(self._core, timeout))
            except FatalError as fatal:
                if isinstance(error, KafkaPipeError) and not isinstance(error, FatalError):
                    raise fatal from error

    async def send_offsets(
        self,
        core: _core.Producer,
        transaction: Transaction,
        batch: Batch,
        timeout: float,  # noqa: ASYNC109
    ) -> None:
        self._must_be_open(transaction, "send offsets")
        batch.consumer._must_send_offsets()
        await self._send(core, lambda timeout_ms: core.send_offsets(batch, timeout_ms), timeout)

    async def send_position(
        self,
        core: _core.Producer,
        transaction: Transaction,
        position: tuple[str, str, int],
        timeout: float,  # noqa: ASYNC109
    ) -> None:
        self._must_be_open(transaction, "send position")
        await self._send(core, lambda timeout_ms: core.send_position(*position, timeout_ms), timeout)

    async def _send(self, core: _core.Producer, send: Callable[[int], None], timeout: float) -> None:  # noqa: ASYNC109
        try:
            async with asyncio.timeout(timeout + _LATE_SECONDS):
                await self._threads.run(send, max(1, int(timeout * 1000)))
        except TimeoutError:
            self._broken = DeadlineError(
                f"send offsets: no answer within {timeout:g} s: {core.problem()}", op="send offsets"
            )
            raise self._broken from None
        except KafkaPipeError as error:
            self._broken = error
            raise

    async def close(self, core: _core.Producer, timeout: float) -> None:  # noqa: ASYNC109
        """Abort what is open: the broker need not wait for its own timeout."""
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=timeout)
        if self._open is not None and self._task is None:
            with suppress(FatalError):
                await self._abort(core, timeout)

    # steps, each in a task of its own

    async def _alone(self, step: Coroutine[Any, Any, None]) -> None:
        if self._task is not None:
            step.close()
            raise RejectedError(
                "transaction: it is being ended in another task", op="transaction", code="_STATE"
            )
        task = self._task = asyncio.ensure_future(step)
        task.add_done_callback(self._rest)
        await asyncio.shield(task)

    def _rest(self, task: asyncio.Task[None]) -> None:
        if self._task is task:
            self._task = None
        if not task.cancelled():
            task.exception()  # whoever waited for it may be gone

    def _forget_later(self, core: _core.Producer, timeout: float) -> None:
        """The transaction that is being begun is nobody's."""

        async def forget(begun: asyncio.Task[None]) -> None:
            await asyncio.wait({begun})
            await self._abort(core, timeout)

        if self._task is None:
            self._open = None
            self._leftover = True
        else:
            task = self._task = asyncio.ensure_future(forget(self._task))
            task.add_done_callback(self._rest)

    async def _begin(self, core: _core.Producer, timeout: float) -> None:  # noqa: ASYNC109
        if self._leftover:
            await self._threads.ask_until(core.abort, timeout)
            self._leftover = False
        await self._threads.ask_until(core.begin, timeout)

    async def _commit(self, core: _core.Producer, timeout: float) -> None:  # noqa: ASYNC109
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        problem = self._broken
        if problem is None and not await self._flushed(core, timeout):
            problem = RetryableError(
                f"commit transaction: messages have no result after {timeout:g} s: {core.problem()}",
                op="commit transaction",
                code="_TIMED_OUT",
            )
        if problem is None:
            try:
                problem = await self._threads.ask_until(core.commit, max(end - loop.time(), 0.1))
            except (FatalError, ClosedError, RejectedError):
                self._open = None
                raise
        if problem is not None:
            await self._abort(core, timeout)
            raise problem
        self._open = None

    async def _abort(self, core: _core.Producer, timeout: float) -> None:  # noqa: ASYNC109
        """Raises FatalError only: nothing else matters to whoever has an error already."""
        try:
            await self._threads.ask_until(core.abort, timeout)
        except FatalError:
            raise
        except KafkaPipeError as error:
            self._leftover = not isinstance(error, ClosedError)
        finally:
            self._open = None

    def _must_be_open(self, transaction: Transaction, op: str) -> None:
        if self._open is not transaction:
            raise RejectedError(f"{op}: this transaction is not open", op=op, code="_STATE")
