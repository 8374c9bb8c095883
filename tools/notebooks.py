"""Runs each notebook on a Kafka of its own and writes it back with its outputs: `make notebooks`."""

import asyncio
import os
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from kafkapipe.stack import Stack

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with Stack(only=["kafka"], kafka_port=0, data_dir=folder) as stack:
            for path in sorted(NOTEBOOKS.glob("*.ipynb")):
                await execute(path, stack.bootstrap)


async def execute(path: Path, bootstrap: str) -> None:
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=120, kernel_name="python3", record_timing=False)
    await client.async_execute(env={**os.environ, "KAFKAPIPE_BOOTSTRAP": bootstrap})
    notebook.metadata.pop("language_info", None)  # names the interpreter of this machine
    nbformat.write(notebook, path)
    print(path.name)


asyncio.run(main())
