"""What several rings of tests need: the stack of real servers, and a reader of topics.

One stack for the whole run: starting the servers is the slowest thing in these tests.
"""

import ctypes
import ctypes.util
import time
from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

import pytest
import pytest_asyncio

from kafkapipe.stack import Stack
from kafkapipe.stack.artifacts import ELASTICSEARCH_VERSION, HADOOP_VERSION, KAFKA_VERSION

_RAN_AGAINST = pytest.StashKey[str]()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stack(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> AsyncIterator[Stack]:
    """Kafka, HDFS and Elasticsearch, empty, on free ports. What a test writes stays for those after it."""
    folder = tmp_path_factory.mktemp("stack")
    start = time.monotonic()
    async with Stack(secure=True, kafka_port=0, hdfs_port=0, search_port=0, data_dir=folder) as running:
        pytestconfig.stash[_RAN_AGAINST] = (
            f"live stack: Apache Kafka {KAFKA_VERSION} on {running.bootstrap}, "
            f"HDFS {HADOOP_VERSION} on {running.webhdfs_url}, "
            f"Elasticsearch {ELASTICSEARCH_VERSION} on {running.search_url}; "
            f"up after {time.monotonic() - start:.1f} s, data in {folder}"
        )
        yield running


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what the live tests ran against."""
    if text := config.stash.get(_RAN_AGAINST, ""):
        terminalreporter.write_line(text)


class TopicRecord(NamedTuple):
    """One record as it lies in the topic."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None


@pytest.fixture
def read_topic() -> Callable[..., list[TopicRecord]]:
    """``read_topic(bootstrap, topic, partitions=1)``: all records of a topic, by partition and offset.

    It speaks to librdkafka itself, so that no code of kafkapipe judges what kafkapipe wrote. Blocks.
    """
    return _read_topic


class _Message(ctypes.Structure):
    _fields_ = [
        ("err", ctypes.c_int),
        ("rkt", ctypes.c_void_p),
        ("partition", ctypes.c_int32),
        ("payload", ctypes.c_void_p),
        ("length", ctypes.c_size_t),
        ("key", ctypes.c_void_p),
        ("key_length", ctypes.c_size_t),
        ("offset", ctypes.c_int64),
    ]


_OFFSET_BEGINNING = -2
_PARTITION_EOF = -191


def _read_topic(bootstrap: str, topic: str, partitions: int = 1) -> list[TopicRecord]:
    library = ctypes.CDLL(ctypes.util.find_library("rdkafka"))
    for name in ("conf_new", "new", "topic_new"):
        getattr(library, f"rd_kafka_{name}").restype = ctypes.c_void_p
    library.rd_kafka_consume.restype = ctypes.POINTER(_Message)
    client = ctypes.c_void_p(_client(library, bootstrap))
    handle = ctypes.c_void_p(library.rd_kafka_topic_new(client, topic.encode(), None))
    try:
        return [record for number in range(partitions) for record in _read_partition(library, handle, number)]
    finally:
        library.rd_kafka_topic_destroy(handle)
        library.rd_kafka_destroy(client)


def _client(library: ctypes.CDLL, bootstrap: str) -> int:
    settings = ctypes.c_void_p(library.rd_kafka_conf_new())
    problem = ctypes.create_string_buffer(256)
    properties = {"bootstrap.servers": bootstrap, "enable.partition.eof": "true", "fetch.wait.max.ms": "10"}
    for name, value in properties.items():
        failed = library.rd_kafka_conf_set(settings, name.encode(), value.encode(), problem, 256)
        assert not failed, problem.value
    client = library.rd_kafka_new(1, settings, problem, ctypes.c_size_t(256))
    assert client, problem.value
    return int(client)


def _read_partition(library: ctypes.CDLL, handle: ctypes.c_void_p, number: int) -> list[TopicRecord]:
    partition = ctypes.c_int32(number)
    records: list[TopicRecord] = []
    deadline = time.monotonic() + 30
    assert library.rd_kafka_consume_start(handle, partition, ctypes.c_int64(_OFFSET_BEGINNING)) == 0
    while True:
        assert time.monotonic() < deadline, (
            f"no end of partition {number} within 30 s; {len(records)} records so far"
        )
        pointer = library.rd_kafka_consume(handle, partition, 100)
        if not pointer:
            continue
        message = pointer.contents
        if message.err == 0:
            key = ctypes.string_at(message.key, message.key_length) if message.key else None
            value = ctypes.string_at(message.payload, message.length) if message.payload else None
            records.append(TopicRecord(message.partition, message.offset, key, value))
        at_end = message.err == _PARTITION_EOF
        library.rd_kafka_message_destroy(pointer)
        if at_end:
            library.rd_kafka_consume_stop(handle, partition)
            return records
