"""Brokers of librdkafka's own, and a reader that shares no code with kafkapipe."""

import threading
from collections.abc import Callable, Iterator
from typing import NamedTuple

import confluent_kafka
import pytest

from kafkapipe import MockCluster


@pytest.fixture
def cluster() -> Iterator[MockCluster]:
    """One broker, empty."""
    brokers = MockCluster()
    yield brokers
    threading.Thread(target=brokers.close).start()  # the library may wait a second for a thread of its own


class Read(NamedTuple):
    """One record as another client reads it."""

    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]] | None


@pytest.fixture
def read_all(cluster: MockCluster) -> Callable[..., list[Read]]:
    """``read_all(topic, partitions=1)``: every record of a topic, by partition and offset. Blocks."""

    def read(topic: str, partitions: int = 1) -> list[Read]:
        return _read_all(cluster.bootstrap, topic, partitions)

    return read


def _read_all(bootstrap: str, topic: str, partitions: int) -> list[Read]:
    settings = {
        "bootstrap.servers": bootstrap,
        "group.id": "reader",
        "enable.partition.eof": True,
        "auto.offset.reset": "error",
    }
    consumer = confluent_kafka.Consumer(settings)
    try:
        consumer.assign([confluent_kafka.TopicPartition(topic, number, 0) for number in range(partitions)])
        return sorted(_records(consumer, partitions), key=lambda each: each[:2])
    finally:
        consumer.close()


def _records(consumer: confluent_kafka.Consumer, partitions: int) -> Iterator[Read]:
    at_end: set[int] = set()
    while len(at_end) < partitions:
        message = consumer.poll(20)
        assert message is not None, "the reader waited in vain"
        if not message.error():
            yield _read(message)
        elif message.error().code() == confluent_kafka.KafkaError._PARTITION_EOF:
            at_end.add(message.partition())
        else:
            raise AssertionError(message.error())


def _read(message: confluent_kafka.Message) -> Read:
    return Read(
        message.partition(),
        message.offset(),
        message.timestamp()[1],
        message.key(),
        message.value(),
        message.headers(),
    )
