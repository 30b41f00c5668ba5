"""`fewstep import` and `fewstep export`, as typed, and a student of a teacher from elsewhere."""

import json
import re
import shutil

import pytest
import torch
import yaml
from click.testing import CliRunner

from fewstep.cli import main
from fewstep.models.model import Model


@pytest.fixture
def unlabelled(reference):
    """A reference network without labels, as the digits and patches want it."""
    theirs = reference("ddpmpp")
    theirs.config = {**theirs.config, "label_dim": 0}
    theirs.parameters = {n: t for n, t in theirs.parameters.items() if not n.startswith("map_label")}
    return theirs


def typed(command: str, code: int) -> str:
    result = CliRunner().invoke(main, command.split())
    assert result.exit_code == code, result.output
    return result.output


def test_a_format_opset_or_folder_that_is_not_there_is_told_before_the_model_is_looked_for(tmp_path):
    out = tmp_path / "x"
    assert "opset must be between 18 and 23, got 99" in typed(
        f"export {out} --model {tmp_path}/none --format onnx --opset 99", 1
    )
    assert "no format 'onx'. Did you mean 'onnx'" in typed(f"export {out} --model {tmp_path}/none --format onx", 1)
    onnx = f"export {tmp_path}/x.ONNX --model {tmp_path}/none --opset 99"
    assert "opset must be between 18 and 23, got 99" in typed(onnx, 1)
    assert "--opset is for --format onnx, and the format is pt2" in typed(
        f"export {tmp_path}/x.pt2 --model {tmp_path}/none --opset 20", 1
    )
    assert "there is no folder" in typed(f"export {tmp_path}/nowhere/x --model {tmp_path}/none --format pt2", 1)
    assert "none" in typed(f"export {out} --model {tmp_path}/none", 1)


@pytest.mark.check
def test_files_become_models_of_the_catalog(here, reference, network_pickle):
    theirs = reference("openai")
    torch.save(theirs.parameters, here / "edm.pt")
    (here / "options.json").write_text(json.dumps(theirs.config))
    told = typed("import edm.pt --from openai --env imagenet64 --config options.json", 0)
    assert "c_noise_scale: 1000.0" in told
    teacher = Model.load(here / "data/06_models/imagenet64/teacher")
    assert (teacher.spec.name, teacher.samplers[0]) == ("teacher", "heun")
    assert "replace it with --replace" in typed("import edm.pt --from openai --env imagenet64 --config options.json", 1)
    typed("import edm.pt --from openai --env imagenet64 --config options.json --as student --recipe cd", 0)
    student = Model.load(here / "data/06_models/imagenet64/cd")
    assert (student.spec.name, student.samplers[0]) == ("cd", "multistep")
    assert student.levels(2).tolist() == [80.0, 1.3824]  # conf/imagenet64
    assert "is not one of the released networks" in typed("import edm.pt --from openai --env lsun256", 1)
    assert "there is no file none.pt" in typed("import none.pt --from openai --env lsun256", 1)
    assert "--config none.json cannot be read" in typed(
        "import edm.pt --from openai --env lsun256 --config none.json", 1
    )
    (here / "list.json").write_text("[]")
    told = typed("import edm.pt --from openai --env lsun256 --config list.json", 1)
    assert "--config list.json must hold a JSON object" in told
    network_pickle(reference("adm"))
    typed("import network.pkl --from nvidia --env cifar10", 0)
    assert Model.load(here / "data/06_models/cifar10/teacher").space.shape == (3, 16, 16)

    typed("export out.pt2 --model data/06_models/cifar10/teacher --format pt2 --nfe 3", 0)
    assert torch.export.load(here / "out.pt2").module()(torch.randn(1, 2, 3, 16, 16), torch.eye(5)[:2]).isfinite().all()
    assert "already exists" in typed("export out.pt2 --model data/06_models/cifar10/teacher", 1)
    assert "no format 'onx'. Did you mean 'onnx'" in typed(
        "export x --model data/06_models/cifar10/teacher --format onx", 1
    )


@pytest.mark.check
def test_models_from_elsewhere_are_distilled_evaluated_and_edited_with(
    begin_project, tmp_path, unlabelled, network_pickle
):
    project = begin_project(tmp_path / "project")
    shutil.copy(network_pickle(unlabelled), project.root / "edm.pkl")

    def run(code, *words, **params):
        given = [f"--params={','.join(f'{k}={v}' for k, v in params.items())}"] if params else []
        status, output = project.run(*words, "--env=test", *given)
        assert status == code, output
        return output

    labels = {"teacher.training.labels": "false", "student.training.labels": "false"}
    run(0, "kedro", "run", "--pipelines=ingest")
    told = run(1, "fewstep", "import", "edm.pkl", "--from=nvidia")
    assert "kedro run --env=test --pipelines=ingest --params=data.scale=1" in told
    run(0, "kedro", "run", "--pipelines=ingest", **{"data.scale": 1})
    told = run(0, "fewstep", "import", "edm.pkl", "--from=nvidia")
    brief = {"launch.workers": 0, "student.training.images": 64, **labels}
    other = run(1, "kedro", "run", "--pipelines=distill", **brief)
    assert re.search(r"only with the same network, and the teacher's has network\.\w+=\S+ \(not ", other), other
    overlay = project.root / "conf/test/parameters/test.yml"
    given = yaml.safe_load(overlay.read_text()) | yaml.safe_load(told[told.index("network:") :])
    overlay.write_text(yaml.safe_dump(given))
    run(0, "kedro", "run", "--pipelines=distill,evaluate,edit", **brief)
    student = Model.load(project.root / "data/06_models/test/cd")
    teacher = Model.load(project.root / "data/06_models/test/teacher")
    assert student.spec.provenance.teacher_sha256 == teacher.sha256
    assert judged(project) == {"cd": student.sha256, "teacher": teacher.sha256}

    run(0, "fewstep", "import", "edm.pkl", "--from=nvidia", "--as=student", "--recipe=cd", "--replace")
    run(0, "kedro", "run", "--pipelines=evaluate,edit", **brief)
    elsewhere = Model.load(project.root / "data/06_models/test/cd")
    assert elsewhere.samplers[0] == "multistep" and elsewhere.sha256 != student.sha256
    assert judged(project) == {"cd": elsewhere.sha256, "teacher": teacher.sha256}


def judged(project) -> dict:
    """The models of the scores, after a look at the scores and the edits."""
    place = project.root / "data/08_reporting/test/cd"
    scores = json.loads((place / "scores.json").read_text())
    assert {row["model"] for row in scores["rows"]} == {"cd", "teacher"}
    assert {edit["task"] for edit in json.loads((place / "edits.json").read_text())} > {"inpaint", "interpolate"}
    return scores["models"]
