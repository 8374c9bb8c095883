"""Which partition a message goes to: librdkafka's partitioners under the names people use, or a function."""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from . import _core
from ._threads import Threads
from .errors import ConfigError, KafkaPipeError, RetryableError

Partitioner = Callable[[str, Sequence[Any], int], Iterable[int]]
"""``partitioner(topic, keys, partitions)``: a number from 0 to ``partitions`` - 1 for each key."""

ROUND_ROBIN = "round_robin"

_PROPERTIES = {
    "sticky": {"partitioner": "consistent_random"},
    "murmur2": {"partitioner": "murmur2_random"},
    "consistent": {"partitioner": "consistent"},
    "random": {"partitioner": "random", "sticky.partitioning.linger.ms": "0"},
    ROUND_ROBIN: {"partitioner": "random"},  # the core has its own
}
_LIBRARY = ("consistent_random", "murmur2_random", "fnv1a", "fnv1a_random")

_FIRST_SECONDS = 60.0  # for the first answer of a broker about a topic
_AGAIN_SECONDS = 1.0  # for a later one: the number that is known will do


def properties_of(partitioner: str) -> Mapping[str, str]:
    """What a partitioner's name means to librdkafka. ConfigError for one that there is not."""
    if partitioner in _LIBRARY:
        return {"partitioner": partitioner}
    if partitioner not in _PROPERTIES:
        close = get_close_matches(partitioner, _PROPERTIES, n=1)
        advice = f'did you mean "{close[0]}"?' if close else "give a function or one of"
        raise ConfigError(
            f'partitioner: there is no "{partitioner}"; {advice} {", ".join(_PROPERTIES)}', code="partitioner"
        )
    return _PROPERTIES[partitioner]


class Choice:
    """A user's partitioner: asked once for each batch."""

    def __init__(self, partitioner: Partitioner, threads: Threads, refresh_seconds: float) -> None:
        self._partitioner = partitioner
        self._threads = threads
        self._refresh_seconds = refresh_seconds
        self._counts: dict[str, tuple[int, float]] = {}  # of partitions, and when it was asked for
        self._asking: dict[str, asyncio.Task[int]] = {}

    async def of(
        self, core: _core.Producer, topic: str, keys: Sequence[Any], given: Sequence[int | None] | None
    ) -> Sequence[int | None]:
        """A partition for each message; those that were given stay."""
        known = self._counts.get(topic)
        if known is None or time.monotonic() - known[1] > self._refresh_seconds:
            await self._learn(core, topic)
        return self.now(topic, keys, given)

    def now(
        self, topic: str, keys: Sequence[Any], given: Sequence[int | None] | None
    ) -> Sequence[int | None]:
        """The same without waiting; RetryableError for a topic that was never asked for."""
        if topic not in self._counts:
            raise RetryableError(
                f'produce to {topic}: the number of partitions is not known yet: await warm(["{topic}"])',
                op="produce",
                code="_WAIT_CACHE",
            )
        chosen = list(self._partitioner(topic, keys, self._counts[topic][0]))
        if len(chosen) != len(keys):
            raise ValueError(f"the partitioner gave {len(chosen)} partitions for {len(keys)} messages")
        if given is None:
            return chosen
        if len(given) != len(keys):
            raise ValueError(f"partitions has {len(given)} items for {len(keys)} messages")
        return [choice if own is None else own for own, choice in zip(given, chosen, strict=True)]

    def note(self, topic: str, count: int) -> None:
        """A broker told the number of partitions."""
        self._counts[topic] = (count, time.monotonic())

    async def _learn(self, core: _core.Producer, topic: str) -> None:
        task = self._asking.get(topic)
        if task is None:
            seconds = _AGAIN_SECONDS if topic in self._counts else _FIRST_SECONDS
            task = self._asking[topic] = asyncio.ensure_future(
                self._threads.ask_until(lambda timeout_ms: core.warm(topic, timeout_ms), seconds)
            )
            task.add_done_callback(lambda _: self._asking.pop(topic, None))
        try:
            self.note(topic, await asyncio.shield(task))
        except KafkaPipeError:
            if topic not in self._counts:
                raise
            self.note(topic, self._counts[topic][0])  # as it was; a broker that is away is no reason to stop
