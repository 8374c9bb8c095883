"""Each notebook runs from top to bottom on a real broker, and is committed with its outputs."""

import os
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from kafkapipe.stack import Stack

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
PATH = re.compile(r"(?<![\w.:/<])/(?:home|root|tmp|work|usr|opt|var|Users)/\w")  # of the machine that ran it

pytestmark = pytest.mark.live


def kinds(notebook: nbformat.NotebookNode) -> list[list[object]]:
    """What each cell shows: the formats of its outputs, or the name of its stream."""
    return [
        [sorted(output.get("data", {})) or output.get("name") for output in cell.get("outputs", [])]
        for cell in notebook.cells
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_the_committed_outputs_are_of_no_machine(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    assert any(kinds(notebook))
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1)), "run it from top to bottom: make notebooks"
    outputs = str([cell.get("outputs") for cell in notebook.cells])
    assert not PATH.search(outputs), PATH.search(outputs)
    assert "Traceback" not in outputs


@pytest.mark.filterwarnings("default")  # of the notebook machinery, not ours
@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
async def test_it_runs_and_shows_what_is_committed(stack: Stack, path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    committed = kinds(notebook)
    client = NotebookClient(notebook, timeout=120, kernel_name="python3")
    await client.async_execute(env={**os.environ, "KAFKAPIPE_BOOTSTRAP": stack.bootstrap})
    assert kinds(notebook) == committed
