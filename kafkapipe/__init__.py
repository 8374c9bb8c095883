"""kafkapipe: web events to Apache Kafka, HDFS and Elasticsearch.

    import kafkapipe as kp

    async with kp.Producer("127.0.0.1:9092") as producer:
        await producer.send("colors", '{"userName":"홍길동"}')

A name is imported when it is first used, so that the command line starts fast.
"""

import importlib
from typing import TYPE_CHECKING, Any

from .errors import (
    ClosedError,
    ConfigError,
    DeadlineError,
    FatalError,
    KafkaPipeError,
    QueueFull,
    RejectedError,
    RetryableError,
)

if TYPE_CHECKING:
    from ._collecting import Route
    from ._core import Batch, BatchResult, MockCluster, Record, RecordMetadata
    from ._files import File, Hdfs
    from ._offsets import TopicPartition
    from ._transaction import Transaction
    from .acls import Acl
    from .admin import Admin, BrokerInfo, ClusterDescription, PartitionInfo, TopicDescription, TopicInfo
    from .config import Elasticsearch, Null
    from .consumer import Consumer
    from .groups import GroupDescription, GroupInfo, GroupOffset, MemberInfo, OffsetReset
    from .pipeline import Pipeline
    from .producer import Producer
    from .reader import PartitionRange, ReadEstimate, Table, read
    from .replaying import ReplayProgress, ReplayResult, replay
    from .topics import validate_topic_name
    from .web.collector import Collector

_HOMES = {
    "Acl": "acls",
    "Admin": "admin",
    "Batch": "_core",
    "BatchResult": "_core",
    "BrokerInfo": "admin",
    "ClusterDescription": "admin",
    "Collector": "web.collector",
    "Consumer": "consumer",
    "Elasticsearch": "config",
    "File": "_files",
    "GroupDescription": "groups",
    "GroupInfo": "groups",
    "GroupOffset": "groups",
    "Hdfs": "_files",
    "MemberInfo": "groups",
    "MockCluster": "_core",
    "Null": "config",
    "OffsetReset": "groups",
    "PartitionInfo": "admin",
    "PartitionRange": "reader",
    "Pipeline": "pipeline",
    "Producer": "producer",
    "ReadEstimate": "reader",
    "Record": "_core",
    "RecordMetadata": "_core",
    "ReplayProgress": "replaying",
    "ReplayResult": "replaying",
    "Route": "_collecting",
    "Table": "reader",
    "TopicDescription": "admin",
    "TopicInfo": "admin",
    "TopicPartition": "_offsets",
    "Transaction": "_transaction",
    "read": "reader",
    "replay": "replaying",
    "validate_topic_name": "topics",
}

__all__ = [
    "Acl",
    "Admin",
    "Batch",
    "BatchResult",
    "BrokerInfo",
    "ClosedError",
    "ClusterDescription",
    "Collector",
    "ConfigError",
    "Consumer",
    "DeadlineError",
    "Elasticsearch",
    "FatalError",
    "File",
    "GroupDescription",
    "GroupInfo",
    "GroupOffset",
    "Hdfs",
    "KafkaPipeError",
    "MemberInfo",
    "MockCluster",
    "Null",
    "OffsetReset",
    "PartitionInfo",
    "PartitionRange",
    "Pipeline",
    "Producer",
    "QueueFull",
    "ReadEstimate",
    "Record",
    "RecordMetadata",
    "RejectedError",
    "ReplayProgress",
    "ReplayResult",
    "RetryableError",
    "Route",
    "Table",
    "TopicDescription",
    "TopicInfo",
    "TopicPartition",
    "Transaction",
    "read",
    "replay",
    "validate_topic_name",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return importlib.import_module("._core", __name__).versions()["kafkapipe"]
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
