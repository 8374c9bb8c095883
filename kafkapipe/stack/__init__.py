"""Real Kafka, HDFS and Elasticsearch or OpenSearch on this machine, without installing any of them.

async with Stack(kafka_port=0, hdfs_port=0, search_port=0) as stack:
    stack.bootstrap, stack.webhdfs_url, stack.search_url
"""

from .artifacts import Step
from .layout import COMPONENTS
from .listing import HdfsEntry, format_listing, hdfs_listing
from .runner import ToolResult
from .stack import ProcessInfo, Stack

__all__ = [
    "COMPONENTS",
    "HdfsEntry",
    "ProcessInfo",
    "Stack",
    "Step",
    "ToolResult",
    "format_listing",
    "hdfs_listing",
]
