"""What a new HDFS gets so that it can be used at once: the folders that an administrator would make."""

from urllib.parse import quote

import httpx

from ..errors import KafkaPipeError

# path, owner, permission
FOLDERS = (("/tmp", "hdfs", "1777"), ("/user/hadoop", "hadoop", "755"), ("/data", "hadoop", "755"))


async def make_world(url: str) -> None:
    """Make the folders that are not there yet; ones that are stay as they are."""
    params = {"user.name": "hdfs"}
    async with httpx.AsyncClient(
        base_url=url, params=params, trust_env=False, verify=False, timeout=60
    ) as http:
        for path, owner, permission in FOLDERS:
            if (await _ask(http, "GET", path, "GETFILESTATUS")).status_code == 404:
                await _must(http, path, "MKDIRS", permission=permission)
                await _must(http, path, "SETOWNER", owner=owner, group=owner)


async def _ask(http: httpx.AsyncClient, method: str, path: str, op: str, **params: str) -> httpx.Response:
    try:
        return await http.request(method, f"/webhdfs/v1{quote(path)}", params={"op": op, **params})
    except httpx.HTTPError as error:
        raise KafkaPipeError(f"hdfs {op} {path}: {error!r}", op="stack up") from error


async def _must(http: httpx.AsyncClient, path: str, op: str, **params: str) -> None:
    answer = await _ask(http, "PUT", path, op, **params)
    if not answer.is_success or answer.content == b'{"boolean":false}':
        raise KafkaPipeError(
            f"hdfs {op} {path}: HTTP {answer.status_code} {answer.text[:200]}", op="stack up"
        )
