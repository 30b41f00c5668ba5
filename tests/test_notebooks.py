"""Every notebook runs from top to bottom, on the mathematics alone; what git has of it was made so too.

`jupyter execute --inplace notebooks/flow.ipynb` makes the outputs of one again.
"""

import shutil
from pathlib import Path
from runpy import run_path

import matplotlib.font_manager  # noqa: F401  its cache is built here, and not said in a cell
import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
FRAMEWORKS = "import sys\n{'kedro', 'ray', 'mlflow'} & set(sys.modules)"
MOST = 300_000  # bytes
SHORT = "teacher.training.images=16000,student.training.images=8000,launch.workers=0,launch.threads=1"

by_name = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.name)


def outputs(notebook) -> list:
    """What its cells gave; nothing went wrong, and nothing was complained of."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    given = [output for cell in cells for output in cell.outputs]
    assert [output for output in given if output.output_type == "error" or output.get("name") == "stderr"] == []
    assert any("image/png" in output.get("data", {}) for output in given)
    return given


@by_name
def test_it_is_kept_with_its_pictures(notebook):
    assert outputs(nbformat.read(notebook, as_version=4))
    assert notebook.stat().st_size < MOST


@pytest.fixture(scope="module")
def for_colab(tmp_path_factory):
    """The notebooks after tools/colab.py, twice: for one repository and then for another."""
    folder = Path(shutil.copytree(NOTEBOOKS[0].parent, tmp_path_factory.mktemp("colab") / "notebooks"))
    main = run_path(str(NOTEBOOKS[0].parents[1] / "tools" / "colab.py"))["main"]
    main("someone/else", folder)
    main("owner/name", folder)
    return folder


@by_name
def test_it_opens_in_colab_and_is_else_the_same(notebook, for_colab):
    made, kept = (nbformat.read(folder / notebook.name, as_version=4) for folder in (for_colab, notebook.parent))
    nbformat.validate(made)
    assert f"/owner/name/blob/main/notebooks/{notebook.name})" in made.cells[1].source
    assert "someone" not in str(made)
    assert [c.source for c in made.cells if not c.id.startswith("colab")] == [
        c.source for c in kept.cells if not c.id.startswith("colab")
    ]
    outputs(made)


@by_name
def test_what_installs_it_in_colab_does_nothing_elsewhere(notebook, for_colab, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cell = nbformat.read(for_colab / notebook.name, as_version=4).cells[2]
    code = TransformerManager().transform_cell(cell.source)
    called = []
    exec(code, {"get_ipython": lambda: called.append("ipython")})
    assert not called and not any(tmp_path.iterdir()) and "git clone" in code


@pytest.fixture(scope="module")
def folder(tmp_path_factory, make_project):
    """The notebooks of a project in which `kedro run` has made the models, in a short training."""
    project = make_project(tmp_path_factory.mktemp("notebooks") / "project")
    code, said = project.run("kedro", "run", "--env=base", "--pipelines=ingest,teacher,distill", f"--params={SHORT}")
    assert code == 0, said
    return Path(shutil.copytree(NOTEBOOKS[0].parent, project.root / "notebooks"))


@pytest.mark.check
@by_name
def test_it_runs(notebook, folder, tmp_path, monkeypatch):
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    ran = nbformat.read(notebook, as_version=4)
    ran.cells.append(nbformat.v4.new_code_cell(FRAMEWORKS))
    NotebookClient(ran, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(folder)}}).execute()
    given = outputs(ran)
    assert given[-1].data["text/plain"] == "set()"
    print("".join(output.text for output in given if output.get("name") == "stdout"))
