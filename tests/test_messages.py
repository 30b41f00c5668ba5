"""Every kind of user's error through its real door, held to rules. `python tests/test_messages.py` prints the table."""

import os
import re
import shlex
import shutil
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from click.testing import CliRunner

ORIGIN = Path(__file__).parents[1]
FORBIDDEN = (
    "Traceback",
    "<_io",
    " object at ",
    "0x",
    "KeyError",
    "TypeError",
    "Errno",
    "ValueError",
    "NoneType",
    "Hint:",
)


@dataclass(frozen=True)
class Case:
    """A command as typed. says: what its message must name, of what was given and what is allowed. files: {path: text}
    in the project before it, removed again after it.
    """

    command: str
    says: tuple[str, ...]
    files: dict[str, str | bytes] = field(default_factory=dict)


LOCAL = "conf/local/parameters.yml"
LONG = "a" * 300

CASES = {
    "configuration": [
        Case("kedro run", (LOCAL, "line 2", "a tab"), {LOCAL: "fresh:\n\ttrue\n"}),
        Case("kedro run", (LOCAL, "line 1", "'[' is not closed"), {LOCAL: "evaluation: {seeds: [1, 2\n"}),
        Case("kedro run", (LOCAL, "line 2", "'recipe' is given twice"), {LOCAL: "recipe: cd\nrecipe: ect\n"}),
        Case("kedro run", (LOCAL, "line 1", "UTF-8"), {LOCAL: b"dataset: caf\xe9\n"}),
        Case("kedro run", (LOCAL, "line 1", "fresh", "nowhere"), {LOCAL: "fresh: ${nowhere:1}\n"}),
        Case("kedro run", (LOCAL, "line 1", "nothing"), {LOCAL: "fresh: ${globals:nothing}\n"}),
        Case("kedro run", (LOCAL, "line 1", "names with values"), {LOCAL: "- recipe\n"}),
        Case(
            "kedro run --pipelines=ingest",
            ("'images'", "StoreDatase"),
            {"conf/local/catalog.yml": "images: {type: fewstep.pipelines.datasets.StoreDatase, filepath: x}\n"},
        ),
        Case("kedro run --env=mons", ("--env 'mons'", "'moons'")),
        Case("kedro run --params-file=none.yml", ("--params-file", "none.yml")),
        Case("kedro run --params-file=my.yml", ("my.yml, line 1",), {"my.yml": "a: [\n"}),
    ],
    "parameters": [
        Case("kedro run --params=recipes=5", ("recipes must be a section", "5")),
        Case("kedro run --params=teacher=0", ("teacher must be a section", "0")),
        Case("kedro run --params=recipe=cdd", ("'cdd'", "'cd'", "ect")),
        Case(f"kedro run --params=dataset={LONG}", ("dataset", "at most 100 letters")),
        Case("kedro run --params=recipe", ("name=value", "'recipe'")),
        Case("kedro run '--params=network.channel_mult=[1,2'", ("network.channel_mult", "'[1,2'", "brackets")),
        Case("kedro run '--params=network.channel_mult=[1,x]'", ("network.channel_mult", "a number", "'x'")),
        Case("kedro run --params=data.heldout=2", ("data.heldout", "below 1", "2")),
        Case("kedro run --params=data.source.name=digit", ("'digit'", "'digits'")),
        Case(
            "kedro run '--params=student={objective: {name: denoising}, preconditioning: {name: edm}, start: scratch, "
            "levels: null, picture_nfe: [3]}'",
            ("evaluation.student_nfe", "odd", "2"),
        ),
        Case("kedro run --env=moons --params=teacher.training.flips=true", ("flips", "false", "points")),
        Case("kedro run --params=student.objective.distance=lpips", ("lpips", "weights")),
        Case("kedro run --params=launch.workers=3", ("batch_size", "3")),
    ],
    "kedro run": [
        Case("kedro run --pipelines=ingst", ("'ingst'", "'ingest'")),
        Case("kedro run --nodes=train_studnt", ("'train_studnt'", "'train_student'")),
        Case("kedro run --runner=SequentialRuner", ("'SequentialRuner'", "'SequentialRunner'")),
        Case("kedro run --runner=some.where.Runner", ("--runner", "SequentialRunner", "some")),
        Case("kedro run --runner-params=worker=2", ("'worker'", "SequentialRunner")),
        Case("kedro run --tags=none", ("leave nothing to run",)),
        Case("kedro run --namespaces=none", ("leave nothing to run", "none")),
        Case("kedro run --pipelines=distill", ("distill needs 'images'", "kedro run --pipelines=ingest")),
    ],
    "data and models that are there": [
        Case(
            "kedro run --env=moons --pipelines=ingest "
            "'--params=data.source.name=digits,network={name: unet, channels: 8, channel_mult: [1], num_blocks: 1}'",
            ("data/02_intermediate/moons/images", "moons", "digits", "dataset=NAME", "fresh=true"),
        ),
        Case(
            "kedro run --env=moons --pipelines=evaluate",
            ("data/06_models/moons/cd", "was trained on other images than", "data/02_intermediate/moons/images"),
        ),
        Case("kedro run --env=moons --pipelines=distill", ("distill needs 'teacher'", "--pipelines=teacher")),
        Case("kedro run --env=moons --pipelines=register", ("register needs 'ladder'", "--pipelines=evaluate")),
        Case("kedro run --env=moons --pipelines=promote", ("there is no registry", "mlflow.db")),
        Case(
            "fewstep evaluate data/06_models/moons/cd --dataset=cats",
            ("scores need images", "kedro run --pipelines=ingest --params=dataset=cats", "moons (--dataset=moons)"),
        ),
    ],
    "commands": [
        Case("fewstep sample", ("no model is registered", "mlflow.db", "kedro run")),
        Case("fewstep sample --model=nowhere", ("nowhere",)),
        Case("fewstep sample a.xyz --model=data/06_models/moons/cd", (".png", "a.xyz")),
        Case(f"fewstep sample {LONG}.png --model=data/06_models/moons/cd", ("too long", "200")),
        Case("fewstep sample no/where.png --model=data/06_models/moons/cd", ("there is no folder no",)),
        Case("fewstep sample --model=data/06_models/moons/cd --sampler=hun", ("'hun'", "multistep")),
        Case("fewstep sample --model=data/06_models/moons/cd --label=3", ("without labels",)),
        Case("fewstep sample --model=models:/fewstep-digits", ("there is no registry",)),
        Case("fewstep edit inpant --model=data/06_models/moons/cd", ("'inpant'", "'inpaint'")),
        Case("fewstep edit inpaint --model=data/06_models/moons/cd --image=x.png", ("only images can be edited",)),
        Case("fewstep evaluate nowhere --env=moons", ("nowhere", ".npy")),
        Case("fewstep evaluate data/06_models/moons/cd --env=moons --sampler=hun", ("'hun'",)),
        Case("fewstep evaluate x.npy --env=moons", ("x.npy", "numpy.save"), {"x.npy": "no numbers"}),
        Case(
            "fewstep evaluate data/06_models/moons/cd --env=moons --beside=x.json",
            ("x.json", "extractor is missing"),
            {"x.json": "{}"},
        ),
        Case("fewstep export data --model=data/06_models/moons/cd", ("data already exists",)),
        Case("fewstep export x.onnx --model=data/06_models/moons/cd --format=onx", ("'onx'", "onnx")),
        Case("fewstep average none --std=0.1", ("no training in none", "runs/")),
        Case("fewstep average data --std=0.4", ("--std", "0.2887", "0.4")),
        Case("fewstep average data --std=0.1", ("data/model", "model.json")),
        Case("fewstep import x.pt --from=openai", ("x.pt",)),
        Case("fewstep import x.pt --from=openai --config=y.json", ("y.json",), {"y.json": "[", "x.pt": "x"}),
        Case("fewstep registry history", ("no model is registered", "kedro run")),
        Case("fewstep registry promote --force", ("no model is registered", "kedro run")),
        Case("fewstep registry sync", ("registration.json", "dvc pull")),
        Case("fewstep drift served --heldout", ("--heldout", "--bound")),
        Case("fewstep drift served --count=9", ("at least 100", "9")),
        Case("fewstep plan --params=recipe=cdd", ("'cdd'", "'cd'")),
        Case("fewstep sweep --env=moons recipe=ct,cdd", ("'cdd'", "'cd'")),
        Case("fewstep sweep --env=moons student.training.clip=1,", ("student.training.clip", "empty value", "'1,'")),
        Case("fewstep sweep --env=moons student.training.clip=0:1", ("student.training.clip=0:1", "--sampler tpe")),
        Case("fewstep sweep --env=moons student.seed=1,2 --trials=3", ("--trials", "--sampler tpe")),
        Case("fewstep sweep --env=moons evaluation.count=24,48", ("'evaluation'", "student")),
        Case("fewstep push digits", ("owner/name", "'digits'")),
        Case(
            "fewstep plan --env=images --params=data.source.resolution=null",
            ("the size of the images", "kedro run --env=images --pipelines=ingest"),
        ),
    ],
}


def typed(command: str) -> str:
    """What a command that has to fail says, without `Error: `."""
    from fewstep.cli import cli, main

    program, *words = shlex.split(command)
    result = CliRunner().invoke({"kedro": cli, "fewstep": main}[program], words)
    assert result.exit_code != 0, f"{command} did not fail: {result.output}"
    shown = result.output
    return shown[shown.rindex("Error: ") + len("Error: ") :].strip() if "\nTraceback" not in f"\n{shown}" else shown


def said(case: Case) -> str:
    """The message of a case, in the project where one is."""
    files = {Path(name): text for name, text in case.files.items()}
    for file, text in files.items():
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    try:
        return typed(case.command)
    finally:
        for file in files:
            file.unlink()


def make_project(root: Path) -> None:
    """A project with points, and a student of other points, where one then is."""
    from kedro.framework.startup import bootstrap_project

    from fewstep.data.space import DataSpace
    from fewstep.models.model import Model, build_function
    from fewstep.models.spec import ModelSpec

    shutil.copytree(ORIGIN / "conf", root / "conf", ignore=shutil.ignore_patterns("local"))
    for folder in ("src", "conf/local"):
        (root / folder).mkdir()
    shutil.copy(ORIGIN / "pyproject.toml", root)
    os.chdir(root)
    bootstrap_project(root)
    from fewstep.cli import cli

    made = CliRunner().invoke(cli, ["run", "--env=moons", "--pipelines=ingest"])
    assert made.exit_code == 0, made.output
    space = DataSpace("moons", "points", (2,), 1.0)
    spec = ModelSpec(
        "cd", {"name": "mlp", "channels": 8, "num_blocks": 1}, {"name": "consistency"}, data_sha256="0" * 64
    )
    place = root / "data/06_models/moons/cd"
    place.parent.mkdir(parents=True)
    Model(build_function(spec, space), space, spec).save(place)


def check_rules(message: str) -> None:
    """What holds for every message."""
    assert message and not message.startswith(("'", "[")), message
    assert [word for word in FORBIDDEN if word in message] == [], message
    assert len(message) < 1000 and message.count("\n") <= 1, message
    assert not re.search(r"\bNone\b", message), message


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    before = Path.cwd()
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    make_project(tmp_path_factory.mktemp("messages"))
    yield
    os.chdir(before)


@pytest.mark.slow
@pytest.mark.parametrize("case", [c for kind in CASES.values() for c in kind], ids=lambda c: c.command[:60])
def test_a_message_says_what_was_given_and_what_to_do(case, project):
    message = said(case)
    check_rules(message)
    assert [word for word in case.says if word not in message] == [], message


def print_table() -> None:
    """Every message, by kind."""
    with tempfile.TemporaryDirectory() as folder:
        make_project(Path(folder))
        for kind, cases in CASES.items():
            print(f"\n{kind}\n{'-' * len(kind)}")
            for case in cases:
                files = "".join(f"  [{name}: {text!r}]" for name, text in case.files.items())
                print(f"\n$ {case.command:.150}{files}\n  {said(case):.900}")
        os.chdir(ORIGIN)


if __name__ == "__main__":
    sys.path.insert(0, str(ORIGIN / "src"))
    print_table()
