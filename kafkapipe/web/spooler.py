"""The spool as the collector has it: the file, the decision who goes there, and the way out to Kafka."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from .spool import Spool
from .spool_drain import Drain
from .spooling import Spooling

if TYPE_CHECKING:
    from .._collecting import CollectorConfig
    from ..producer import Producer


_OVERHEAD = 1024
"""What an event may need beside its value: key, headers and Kafka's own bytes."""


class Spooler:
    """:param kafka: librdkafka's properties of the producer that brings the events to Kafka later"""

    def __init__(self, config: "CollectorConfig", producer: "Producer", kafka: Mapping[str, str]) -> None:
        assert config.spool is not None
        self.spool = Spool(config.spool, config.spool_bytes)
        largest = int(kafka.get("message.max.bytes", "1000000"))
        after = min(config.spool_after, config.ack_timeout / 2) / 1000  # before the request is given up
        self.spooling = Spooling(producer, self.spool, after, largest - _OVERHEAD)
        self._drain = Drain(self.spooling, kafka)

    @property
    def problem(self) -> str | None:
        """What waits and why, in words; None when nothing waits."""
        waits = self.spool.problem
        return f"{waits}: {self._drain.problem}" if waits and self._drain.problem else waits

    async def start(self) -> None:
        """Open the file and begin to empty it; the producer is started.

        :raises ConfigError: when the file cannot be had
        """
        await self.spool.start()
        self._drain.start()

    async def stop_draining(self) -> None:
        """Before the producer is closed: what it had not sent goes to the spool then."""
        await self._drain.close()

    async def close(self) -> None:
        """After the producer was closed; what is in the file stays for the next run."""
        await self._drain.close()
        await self.spooling.close()
        await self.spool.close()
