"""Each notebook runs from top to bottom, and is committed with its outputs."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.name)
@pytest.mark.filterwarnings("default")  # of the notebook machinery, not ours
def test_notebook(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    committed = [bool(cell.get("outputs")) for cell in notebook.cells]
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    assert [bool(cell.get("outputs")) for cell in notebook.cells] == committed
    assert any(committed)
