"""Listings of HDFS folders over WebHDFS, as ``hdfs dfs -ls -R`` prints them."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import httpx

from ..errors import KafkaPipeError


@dataclass(frozen=True)
class HdfsEntry:
    """A file or folder in HDFS. ``length`` is in bytes; ``permission`` is octal, as WebHDFS gives it."""

    path: str
    is_folder: bool
    permission: str
    replication: int
    owner: str
    group: str
    length: int
    modified: datetime

    @property
    def mode(self) -> str:
        """``drwxr-xr-x`` and so on."""
        bits = int(self.permission, 8)
        letters = "".join("rwx"[i % 3] if bits & (0o400 >> i) else "-" for i in range(9))
        if bits & 0o1000:
            letters = letters[:-1] + ("t" if bits & 1 else "T")
        return ("d" if self.is_folder else "-") + letters


async def hdfs_listing(
    url: str, path: str, *, recursive: bool = True, user: str = "hadoop"
) -> list[HdfsEntry]:
    """What is in the folder ``path``, in order of names; with ``recursive`` each folder's content follows it.

    ``url`` is WebHDFS's, like ``http://127.0.0.1:9870``. Raises KafkaPipeError when HDFS refuses or does not
    answer.
    """
    async with httpx.AsyncClient(
        base_url=url, params={"user.name": user}, trust_env=False, timeout=60
    ) as http:
        return await _list(http, path, recursive)


async def _list(http: httpx.AsyncClient, path: str, recursive: bool) -> list[HdfsEntry]:
    entries: list[HdfsEntry] = []
    for status in await _statuses(http, path):
        entry = _entry(path, status)
        entries.append(entry)
        if recursive and entry.is_folder:
            entries += await _list(http, entry.path, recursive)
    return entries


async def _statuses(http: httpx.AsyncClient, path: str) -> list[dict[str, Any]]:
    try:
        answer = await http.get(f"/webhdfs/v1{quote(path)}", params={"op": "LISTSTATUS"})
    except httpx.HTTPError as error:
        raise KafkaPipeError(f"hdfs list: no answer from {http.base_url}: {error}", op="hdfs list") from error
    if not answer.is_success:
        raise KafkaPipeError(
            f"hdfs list: HTTP {answer.status_code} for {path}: {_reason(answer)}",
            op="hdfs list",
            code=f"HTTP {answer.status_code}",
        )
    statuses: list[dict[str, Any]] = answer.json()["FileStatuses"]["FileStatus"]
    return statuses


def _reason(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["RemoteException"]["message"]).partition("\n")[0]
    except (ValueError, KeyError, TypeError):
        return answer.reason_phrase


def _entry(folder: str, status: dict[str, Any]) -> HdfsEntry:
    suffix = status["pathSuffix"]
    return HdfsEntry(
        path=f"{folder.rstrip('/')}/{suffix}" if suffix else folder,
        is_folder=status["type"] == "DIRECTORY",
        permission=status["permission"],
        replication=status["replication"],
        owner=status["owner"],
        group=status["group"],
        length=status["length"],
        modified=datetime.fromtimestamp(status["modificationTime"] / 1000, UTC),
    )


def format_listing(entries: Iterable[HdfsEntry]) -> str:
    """The lines that ``hdfs dfs -ls`` prints for these entries; times are local."""
    rows = list(entries)
    owner = max((len(row.owner) for row in rows), default=0)
    group = max((len(row.group) for row in rows), default=0)
    return "\n".join(_line(row, owner, group) for row in rows)


def _line(row: HdfsEntry, owner: int, group: int) -> str:
    copies = "-" if row.is_folder else str(row.replication)
    when = row.modified.astimezone().strftime("%Y-%m-%d %H:%M")
    return (
        f"{row.mode} {copies:>3} {row.owner:<{owner}} {row.group:<{group}} {row.length:>10} {when} {row.path}"
    )
