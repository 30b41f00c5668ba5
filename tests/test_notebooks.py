"""Every notebook runs from top to bottom, on the mathematics alone."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
FRAMEWORKS = "import sys\n{'kedro', 'ray', 'mlflow'} & set(sys.modules)"

by_name = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.name)


@by_name
def test_it_is_kept_without_outputs(notebook):
    cells = [cell for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code"]
    assert cells and all(cell.outputs == [] and cell.execution_count is None for cell in cells)


@pytest.mark.check
@by_name
def test_it_runs(notebook, tmp_path, monkeypatch):
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    ran = nbformat.read(notebook, as_version=4)
    ran.cells.append(nbformat.v4.new_code_cell(FRAMEWORKS))
    NotebookClient(ran, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in ran.cells if cell.cell_type == "code" for output in cell.outputs]
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert outputs[-1].data["text/plain"] == "set()"
    print("".join(output.text for output in outputs if output.get("name") == "stdout"))
