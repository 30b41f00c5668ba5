"""Bad input: a clear error before any work, and nothing lost. As a user sees it, on the command line."""

import json
import re
import shutil
from contextlib import chdir
from pathlib import Path

import pytest
from click.testing import CliRunner
from kedro.framework.startup import bootstrap_project

from fewstep.cli import cli
from fewstep.pipelines.config_loader import RecipeConfigLoader
from fewstep.settings import CONFIG_LOADER_ARGS
from fewstep.support.errors import InvalidInput
from fewstep.support.tensor_files import seal

CONF = Path(__file__).parents[1] / "conf"


def parameters(env: str = "test", **given):
    """The parameters, with some as --params gives them: teacher__training__images=3."""
    runtime: dict = {}
    for name, value in given.items():
        *places, last = name.split("__")
        section = runtime
        for place in places:
            section = section.setdefault(place, {})
        section[last] = value
    return RecipeConfigLoader(str(CONF), env=env, runtime_params=runtime, **CONFIG_LOADER_ARGS).parameters


REFUSED = {
    "unknown section": ({"evaluaton__count": 5}, "There is no parameter 'evaluaton'. Did you mean 'evaluation'?"),
    "unknown key": (
        {"teacher__training__imagess": 5},
        "There is no parameter 'imagess' of teacher.training. Did you mean 'images'?",
    ),
    "unknown constant": (
        {"student__objective__num_level": 5},
        "student.objective: There is no constant 'num_level' of consistency_distillation. Did you mean 'num_levels'?",
    ),
    "unknown argument": (
        {"network__chanels": 5},
        "teacher.network: There is no argument 'chanels' of the network 'unet'. Did you mean 'channels'?",
    ),
    "unknown objective": (
        {"student__objective__name": "denoisin"},
        "student.objective: There is no objective 'denoisin'. Did you mean 'denoising'?",
    ),
    "unknown network": ({"network__name": "une"}, "teacher.network: There is no network 'une'. Did you mean 'unet'?"),
    "unknown distance": (
        {"student__objective__distance": "pseudo"},
        "student.objective: There is no distance 'pseudo'. Did you mean 'pseudo_huber'?",
    ),
    "unknown recipe": ({"recipe": "cdd"}, "There is no recipe 'cdd'. Did you mean 'cd'?"),
    "a name that YAML reads as another value": (
        {"dataset": False},
        "dataset must be a name, and YAML reads this one as False: put it in quotes.",
    ),
    "what is made of the recipes": (
        {"students__cd__training__images": 7},
        "the parameter students must be left out: give what is said of one student as recipes.NAME.",
    ),
    "no recipe": ({"recipe": None}, "There is no recipe ''. Allowed: "),
    "dataset with a quote": (
        {"dataset": "a'b"},
        "dataset must be a name of at most 100 letters, digits, '_', '-' and '.', got \"a'b\"",
    ),
    "dataset beyond its folder": (
        {"dataset": "../x"},
        "dataset must be a name of at most 100 letters, digits, '_', '-' and '.', got '../x'",
    ),
    "dataset of 300 letters": (
        {"dataset": "a" * 300},
        "dataset must be a name of at most 100 letters, digits, '_', '-' and '.', got 'aaa",
    ),
    "recipes in place of recipe": ({"recipes": 5}, "recipes must be a section with parameters of its own, got 5"),
    "a recipe that is a number": ({"recipe": 5}, "There is no recipe '5'."),
    "a number in place of a recipe": (
        {"recipes": {"cd": 5}},
        "recipes.cd must be a section with parameters of its own, got 5",
    ),
    "a number in place of the teacher": ({"teacher": 0}, "teacher must be a section with parameters of its own, got 0"),
    "a list in place of the network": (
        {"network": [1]},
        "network must be a section with parameters of its own, got [1]",
    ),
    "unknown env": ({"env": "tset"}, "There is no --env 'tset'. Did you mean 'test'?"),
    "word for a number": (
        {"teacher__training__learning_rate": "abc"},
        "teacher.training.learning_rate must be a number, got 'abc'",
    ),
    "fraction for a count": (
        {"student__objective__num_levels": 1.5},
        "student.objective.num_levels must be a whole number, got 1.5",
    ),
    "negative": ({"launch__workers": -1}, "launch.workers must be at least 0, got -1"),
    "too few": ({"student__objective__num_levels": 1}, "student.objective.num_levels must be at least 2, got 1"),
    "zero": ({"student__training__batch_size": 0}, "student.training.batch_size must be above 0, got 0"),
    "not finite": (
        {"student__training__learning_rate": float("nan")},
        "student.training.learning_rate must be finite, got nan",
    ),
    "out of range": ({"data__heldout": 1.5}, "data.heldout must be below 1, got 1.5"),
    "another choice": (
        {"student__start": "techer"},
        "student.start must be 'scratch', 'teacher' or 'earlier', got 'techer'",
    ),
    "no section": ({"student": 3}, "student must be a section with parameters of its own, got 3"),
    "network: word": ({"network__channels": "abc"}, "teacher.network.channels must be a whole number, got 'abc'"),
    "network: range": ({"network__channels": -4}, "teacher.network.channels must be at least 1, got -4"),
    "network: dropout": ({"network__dropout": 7}, "teacher.network.dropout must be at least 0 and below 1, got 7.0"),
    "network: sizes": (
        {"network__attn_resolutions": [5]},
        "teacher: attn_resolutions must be sizes of this network on images of 16x16 ([16, 8]), got [5].",
    ),
    "network: heads": ({"network__num_heads": 3}, "teacher: 32 channels cannot be divided among 3 attention heads."),
    "network: heads of edm2": (
        {"network": {"name": "edm2", "channels": 10, "head_channels": 6}},
        "teacher: 20 channels cannot be divided among 3 attention heads: choose head_channels (now 6)",
    ),
    "a decay without its reference": (
        {"teacher__training__learning_rate_decay": "inverse_sqrt"},
        "teacher.training.learning_rate_reference must be above 0 with learning_rate_decay inverse_sqrt, got 0",
    ),
    "network: for points": (
        {"network": {"name": "mlp"}},
        "teacher: the network 'mlp' takes points of shape [D], got [3, 16, 16]: use 'unet' for images.",
    ),
    "another preconditioner": (
        {"student__preconditioning__name": "edm"},
        "student: There is no preconditioner for consistency_distillation 'edm'.",
    ),
    "argument of a wrapper": (
        {"student__preconditioning__bundary": 1},
        "student.preconditioning: There is no argument 'bundary' of the preconditioner 'consistency'. Did you mean",
    ),
    "two boundaries": (
        {"student__preconditioning__boundary": 0.01},
        "student: preconditioning.boundary must be left out: noise.sigma_min sets it for the whole recipe.",
    ),
    "two boundaries of a jump": (
        {"recipe": "ctm", "student__preconditioning__boundary": 0.01},
        "student: preconditioning.boundary must be left out: noise.sigma_min sets it for the whole recipe.",
    ),
    "a batch in pieces": (
        {"recipe": "ctm", "student__training__micro_batch_size": 8},
        "ctm: micro_batch_size must be 0 (a worker's whole share, 32), got 8: with this method the losses of a batch",
    ),
    "even Heun": (
        {"evaluation__teacher_nfe": {"heun": [3, 4]}},
        "evaluation.teacher_nfe: NFE must be odd and at least 1 with heun, got 4.",
    ),
    "unknown sampler": (
        {"evaluation__teacher_nfe": {"dpm_solver": [5]}},
        "evaluation.teacher_nfe: There is no sampler of a teacher 'dpm_solver'. Did you mean 'dpm_solver_3'?",
    ),
    "even churn": (
        {"evaluation__teacher_nfe": {"churn": [4]}},
        "evaluation.teacher_nfe: NFE must be odd and at least 1 with churn, got 4.",
    ),
    "unknown editing task": (
        {"editing__tasks__inpant": {}},
        "editing.tasks: There is no editing task 'inpant'. Did you mean 'inpaint'?",
    ),
    "option of a task": (
        {"editing__tasks__inpaint__mas": "x"},
        "editing.tasks: There is no option 'mas' of inpaint. Did you mean 'mask'?",
    ),
    "no evaluations": ({"evaluation__student_nfe": [0, 1]}, "evaluation.student_nfe.0 must be at least 1, got 0"),
    "nothing to judge by": (
        {"evaluation__student_nfe": [2]},
        "evaluation.student_nfe: 1 must be among them, since the registry judges by it, got [2]",
    ),
    "gamma above 1": ({"evaluation__gammas": [1.5]}, "evaluation.gammas.0 must be at most 1, got 1.5"),
    "nothing to compare": ({"comparison__nfe": []}, "comparison.nfe must be a list of 1 or more, got []"),
    "a sampler of nothing": (
        {"evaluation__teacher_nfe": {"heun": []}},
        "evaluation.teacher_nfe.heun must be a list of 1 or more, got []",
    ),
    "a sampler of nothing to compare": (
        {"comparison__teacher_nfe": {"heun": []}},
        "comparison.teacher_nfe.heun must be a list of 1 or more, got []",
    ),
    "no seeds": ({"evaluation__seeds": []}, "evaluation.seeds must be a list of 1 or more, got []"),
    "equal seeds": ({"evaluation__seeds": [1, 1]}, "evaluation.seeds: there must be no repetitions, got [1, 1]"),
    "few samples": ({"evaluation__count": 5}, "evaluation.count must be at least 10, got 5"),
    "unknown features": (
        {"evaluation__features": "digit"},
        "evaluation.features: There is no kind of features 'digit'. Did you mean 'digits'?",
    ),
    "rising levels": (
        {"student__levels": {3: [1, 2]}},
        "student: levels of 3 NFE must be 2 decreasing numbers, got [1.0, 2.0].",
    ),
    "number of levels": (
        {"student__levels": {2: [2, 1]}},
        "student: levels of 2 NFE must be 1 decreasing numbers, got [2.0, 1.0].",
    ),
    "high levels": (
        {"student__levels": {2: [90]}},
        "student: levels of 2 NFE must be between 0.002 and 80, got [90.0].",
    ),
    "infinite rate": (
        {"teacher__training__learning_rate": float("inf")},
        "teacher.training.learning_rate must be finite, got inf",
    ),
    "negative seed": ({"teacher__seed": -1}, "teacher.seed must be at least 0, got -1"),
    "width of levels": ({"teacher__objective__level_std": -1}, "teacher.objective.level_std must be above 0, got -1.0"),
    "unknown source": (
        {"data__source": {"name": "digit"}},
        "data.source: There is no data source 'digit'. Did you mean 'digits'?",
    ),
    "argument of a source": (
        {"data__source__cout": 1},
        "data.source: There is no argument 'cout' of the data source patches. Did you mean 'count'?",
    ),
    "a taught teacher": (
        {"teacher__start": "teacher"},
        "teacher must not need a teacher itself: set start: scratch, and a method such as denoising.",
    ),
    "labels unknown to the teacher": (
        {"teacher__training__labels": False},
        "cd: teacher.training.labels must be true if training.labels is.",
    ),
    "labels unknown to the student": (
        {"student__training__labels": False},
        "cd: training.labels must be true, since the teacher has labels and the student starts from its weights: set",
    ),
    "labels unknown to the student, of data whose size is not known": (
        {"data__source": {"name": "folder", "path": "x"}, "student__training__labels": False},
        "cd: training.labels must be true, since the teacher has labels and the student starts from its weights: set",
    ),
    "a size that is not halved": (
        {"data__source": {"name": "folder", "path": "x", "resolution": [15, 20]}},
        "teacher: 15x20 pixels cannot be halved, so channel_mult must have at most 1 entry, got [1, 2]. Try",
    ),
    "pixels of another kind": (
        {"data__source": {"name": "folder", "path": "x", "mode": "cmyk"}},
        "data.source: There is no mode 'cmyk' of pictures. Allowed: grayscale, rgb, rgba.",
    ),
    "three sides": (
        {"data__source": {"name": "folder", "path": "x", "resolution": [15, 20, 3]}},
        "data.source.resolution must be [height, width], each a whole number between 1 and 4096, got [15, 20, 3]",
    ),
    "a recipe not chosen": (
        {"recipes": {"ict": {"training": {"learnin_rate": 1}}}},
        "There is no parameter 'learnin_rate' of recipes.ict.training. Did you mean 'learning_rate'?",
    ),
    "a recipe of another's name": (
        {"recipes": {"reference": {}}},
        "a recipe must not be called reference, which means something else: rename it.",
    ),
    "another network than the teacher's": (
        {"student__network__channels": 32},
        "cd: a student can start from its teacher only with the same network, and the teacher's has",
    ),
    "another time than the teacher's": (
        {"recipe": "scd", "student__network__c_noise": "angle"},
        "scd: a student can start from its teacher only with the same network, and the teacher's has",
    ),
    "guidance by a teacher that always had labels": (
        {"recipe": "facm", "teacher__training__label_dropout": 0.0},
        "facm: objective.guidance is 1.5, so training.labels must be true and teacher.training.label_dropout must be",
    ),
    "guidance in a student's own target that always has labels": (
        {"recipe": "meanflow", "student__training__label_dropout": 0.0},
        "meanflow: the objective guides its own target, so training.labels must be true and training.label_dropout",
    ),
    "levels of guidance beyond the noise": (
        {"recipe": "meanflow", "student__objective__guided_levels": [0.01, 100.0]},
        "student.objective.guided_levels must be two increasing levels between 0.002 and 80, got (0.01, 100.0)",
    ),
    "an anchor without a condition": (
        {"recipe": "facm", "student__network__second_time": False},
        "facm: network.second_time must be true: this method needs a second time input.",
    ),
    "a second time that nothing tells": (
        {"student__network__second_time": True},
        "cd: network.second_time must be false: this method has no use for a second time input.",
    ),
    "augmentation that nothing makes": (
        {"network__augment_dim": 9},
        "teacher: network.augment_dim must be 0, got 9: training.augment transforms no images.",
    ),
    "augmentation that is not told": (
        {"teacher__training__augment": {"yflip": 0.5, "aniso": 0.1}},
        "teacher: network.augment_dim must be 3, got 0: training.augment tells it of yflip, aniso.",
    ),
    "augmentation in a method that tells of none": (
        {"student__training__augment": {"yflip": 0.5}},
        "cd: training.augment must be left out: consistency_distillation does not tell its networks of augmentation.",
    ),
    "augmentation of points": (
        {"env": "moons", "teacher__training__augment": {"scale": 0.5}},
        "teacher: training.augment must be left out, since moons are points.",
    ),
    "augmentation more often than always": (
        {"teacher__training__augment": {"xflip": 1.0e8}},
        "teacher.training.augment.xflip must be between 0 and 1, got 100000000.0",
    ),
    "an unknown transformation": (
        {"teacher__training__augment": {"rotation_frac": 0.1}},
        "There is no parameter 'rotation_frac' of teacher.training.augment. Did you mean 'rotate_frac'?",
    ),
    "channels of half a wave": (
        {"network__channels": 20, "network__channel_mult_noise": 0.35},
        "teacher: channels x channel_mult_noise must be an even number of at least 2, got 7",
    ),
    "no earlier recipe": (
        {"recipe": "tcm", "student__earlier": None},
        "student: earlier must be given, such as {like: ect}, since truncated_consistency needs it.",
    ),
    "an earlier recipe that there is not": (
        {"recipe": "tcm", "student__earlier": {"like": "etc"}},
        "There is no recipe or teacher 'etc' of recipes.tcm.earlier.like. Did you mean 'ect'?",
    ),
    "an earlier recipe of another method": (
        {"recipe": "tcm", "student__earlier": {"like": "cd"}},
        "student: earlier must be a recipe of a consistency method over all levels, such as easy_consistency_tuning",
    ),
    "an earlier recipe without a use": (
        {"student__earlier": {"like": "ect"}},
        "student: earlier must be left out: neither start nor consistency_distillation uses it.",
    ),
    "a start from nothing": (
        {"student__start": "earlier"},
        "student: earlier must be given, such as {like: ect}, since start is earlier.",
    ),
    "an earlier student without labels": (
        {"recipe": "tcm", "student__earlier": {"training": {"labels": False}}},
        "ect: training.labels must be true, since the teacher has labels and the student starts from its weights",
    ),
    "an earlier student of another network": (
        {"recipe": "tcm", "student__network__channels": 32},
        "tcm: a student can start from its earlier model only with the same network, and the earlier model's has",
    ),
    "an unknown setting of the earlier recipe": (
        {"recipe": "tcm", "student__earlier": {"training": {"imags": 5}}},
        "There is no parameter 'imags' of student.earlier.training. Did you mean 'images'?",
    ),
    "groups that micro-batches cut": (
        {"recipe": "imm", "student__training__micro_batch_size": 2},
        "imm: batch_size / workers and micro_batch_size must be multiples of 4, which belong together with this method",
    ),
    "groups that workers cut": (
        {"recipe": "imm", "launch__workers": 16},
        "imm: batch_size / workers and micro_batch_size must be multiples of 4, which belong together with this method",
    ),
    "the preconditioner of the other parametrisation": (
        {"recipe": "imm", "student__objective__parametrisation": "euler"},
        "student: There is no preconditioner for moment_matching 'trajectory'. Did you mean 'euler_trajectory'?",
    ),
    "no weak teacher": (
        {"recipe": "ayf", "student__earlier": None},
        "student: earlier must be given, such as {like: ect}, since eulerian_distillation needs it.",
    ),
    "a student as weak teacher": (
        {"recipe": "ayf", "student__earlier": {"like": "ect"}},
        "student: earlier must be a weak teacher, such as {like: teacher, training: {images: 20000}}, got a recipe of",
    ),
    "a transition beyond the noise": (
        {"recipe": "tcm", "student__objective__transition": 90},
        "student.objective.transition must be above sigma_min (0.002) and below sigma_max (80.0), got 90",
    ),
    "an unknown time": ({"network__c_noise": "angel"}, "teacher: There is no c_noise 'angel'. Did you mean 'angle'?"),
    "a grid of none": ({"student__noise__rho": 0}, "student.noise.rho must be above 0, got 0"),
    "where samplers start": (
        {"student__noise__sigma_max": 40.0},
        "student.noise.sigma_max must be 80, where samplers start, got 40.0",
    ),
    "an end above the other": (
        {"student__noise__sigma_min": 90},
        "student.noise.sigma_min must be above 0 and below 80, got 90",
    ),
    "an end of the noise in the objective": (
        {"student__objective__sigma_min": 0.01},
        "student: objective.sigma_min must be left out: noise.sigma_min sets it for the whole recipe.",
    ),
    "an end of another name": (
        {"student__noise__sigma_mn": 0.01},
        "There is no parameter 'sigma_mn' of student.noise. Did you mean 'sigma_min'?",
    ),
    "levels of Heun": (
        {"teacher__levels": {9: [1]}},
        "teacher.levels must be empty with Heun's method, which has its own, got {9: (1.0,)}",
    ),
    "unknown rule": (
        {"promotion__rules__kid_belw": 1},
        "There is no parameter 'kid_belw' of promotion.rules. Did you mean 'kid_below'?",
    ),
    "unknown threshold": (
        {"promotion__rules__first__kdi": 1},
        "promotion.rules: There is no absolute threshold 'kdi'. Did you mean 'kid'?",
    ),
    "too few full seeds": (
        {"evaluation__full_seeds": [0, 1]},
        "evaluation.full_seeds must be a list of 3 or more, got [0, 1]",
    ),
    "unequal shares": (
        {"launch__workers": 3},
        "teacher: batch_size must be a multiple of workers x micro_batch_size (3 x 10), got 32.",
    ),
}


@pytest.mark.parametrize("given, message", REFUSED.values(), ids=REFUSED)
def test_a_wrong_parameter_is_named_in_full_with_what_is_allowed(given, message):
    with pytest.raises(InvalidInput) as caught:
        parameters(**given)
    assert str(caught.value).startswith(message)
    assert "Value error" not in str(caught.value) and len(str(caught.value)) < 1500


def run(project, *words: str):
    """What `kedro run` did, in this process."""
    with chdir(project.root):
        bootstrap_project(project.root)
        return CliRunner().invoke(cli, ["run", "--env=test", *words])


def refused(project, *words: str) -> str:
    """What a command that has to fail printed: words, and no traceback. It runs in this process, to save imports."""
    result = run(project, *words)
    assert isinstance(result.exception, SystemExit) and result.exit_code != 0, result.output
    assert "Traceback" not in result.output and re.search(r"^Error: ", result.output, re.MULTILINE), result.output
    return result.output


def made(project) -> list[Path]:
    """What a command left in the project's data and runs."""
    return [p for folder in ("data", "runs", "mlflow.db") for p in project.glob(f"{folder}/**/*") if p.is_file()]


@pytest.mark.slow
@pytest.mark.parametrize(
    "words, message",
    [
        (["--params=teacher.training.imagess=5"], "Did you mean 'images'"),
        (["--env=tset"], "Did you mean 'test'"),
        (["--pipelines=ingest,distil"], "no pipeline 'distil'. Did you mean 'distill'"),
        (["--nodes=train_studnt"], "no node 'train_studnt'. Did you mean 'train_student'"),
        (
            ["--params=student.objective.distance=lpips"],
            r"lpips needs the ImageNet weights of vgg, .* put torchvision's",
        ),
        (["--pipelines=distill"], r"distill needs 'images'.*kedro run --env=test --pipelines=ingest"),
        (["--pipelines=register", "--params=recipe=ict"], "needs 'ladder'.*evaluate --params=recipe=ict"),
        (["--params=teacher.network.num_heads=3"], "32 channels cannot be divided among 3 attention heads"),
        (
            ["--pipelines=ingest", "--params=evaluation.features=digits"],
            r"digits takes images of \(1, 8, 8\), and",
        ),
        (
            ["--pipelines=ingest", "--params=evaluation.features=inception,evaluation.features_weights=nowhere.pth"],
            "Inception features need the file .* put it at nowhere.pth",
        ),
    ],
)
def test_a_command_fails_in_words_before_any_work(words, message, project):
    assert re.search(message, refused(project, *words))
    assert made(project) == []


@pytest.fixture(scope="module")
def trained(tmp_path_factory, begin_project):
    """A project with images and a teacher."""
    project = begin_project(tmp_path_factory.mktemp("trained") / "project")
    words = "launch.workers=0,launch.threads=1,teacher.training.images=64,teacher.training.batch_size=16"
    result = run(project, "--pipelines=ingest,teacher", f"--params={words}")
    assert result.exit_code == 0, result.output
    return project


@pytest.mark.slow
def test_distill_without_a_teacher_names_the_pipeline_that_makes_it(trained):
    teacher = trained.root / "data/06_models/test/teacher"
    teacher.rename(teacher.with_name("away"))
    try:
        output = refused(trained, "--pipelines=distill")
    finally:
        teacher.with_name("away").rename(teacher)
    assert re.search(r"distill needs 'teacher', and it is not at .*kedro run --env=test --pipelines=teacher", output)


@pytest.mark.slow
def test_what_only_the_data_can_tell_is_named_before_training(project):
    """A folder without a resolution: its size is known when it was read, and it has no labels."""
    from PIL import Image

    (project.root / "pictures").mkdir()
    for shade in range(20):
        Image.new("RGB", (12, 12), (shade, 0, 0)).save(project.root / "pictures" / f"{shade}.png")
    source = "data.source.name=folder,data.source.path=pictures,dataset=plain,evaluation.features=digits"
    output = refused(project, f"--params={source}")
    assert "training.labels must be false, since the data plain have no labels" in output
    assert project.glob("data/02_intermediate/plain/images/store.json") and not any(
        p.is_file() for p in project.glob("runs/**/*") if p.parent.name != "locks"
    )


@pytest.mark.slow
def test_features_that_the_data_were_not_ingested_for_are_named(trained):
    output = refused(trained, "--pipelines=evaluate", "--params=evaluation.features=inception")
    assert re.search("evaluation.features must be 'classifier', which .* got 'inception'", output)


@pytest.mark.slow
def test_a_model_of_other_data_is_refused_before_any_work(trained):
    assert run(trained, "--nodes=ingest_images", "--params=data.seed=1").exit_code == 0
    try:
        output = refused(trained, "--pipelines=distill", "--params=launch.workers=0")
    finally:
        assert run(trained, "--nodes=ingest_images").exit_code == 0
    told = "data/06_models/test/teacher was trained on other images than data/02_intermediate/test/images"
    assert told in output and "kedro run --env=test --pipelines=teacher --params=launch.workers=0" in output
    assert not trained.glob("runs/test/cd-*")


@pytest.mark.slow
def test_a_tampered_model_is_refused(trained):
    file = trained.root / "data/06_models/test/teacher/model.json"
    before = file.read_text()
    file.write_text(json.dumps(json.loads(before) | {"labels": False}))
    try:
        output = refused(trained, "--pipelines=distill", "--params=launch.workers=0")
    finally:
        file.write_text(before)
    assert re.search(r"model.json was changed after it was saved: restore it", output)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.check)])
def test_a_divergence_says_where_and_keeps_the_last_good_checkpoint(workers, trained):
    numbers = {
        "learning_rate": 1000,
        "weight_decay": 1000,
        "optimizer": "adamw",
        "clip": 0,
    }  # weights grow by 10^6 a step
    wild = ",".join(f"student.training.{name}={value}" for name, value in numbers.items())
    output = refused(
        trained,
        "--pipelines=distill",
        f"--params=launch.workers={workers},launch.threads=1,{wild},student.training.checkpoint_every=32",
    )
    words = r"Error: cd diverged at step (\d+) \(\d+ images\): loss .*, at levels? .*last good checkpoint stays"
    step = int(re.search(words, output)[1])
    kept = trained.glob("runs/test/cd-*/checkpoints/step_*")
    assert step > 0 and [p.name for p in kept][-1] == f"step_{step:09d}"
    assert not trained.glob("runs/test/cd-*/model")


@pytest.mark.slow
def test_a_checkpoint_of_another_configuration_is_not_taken_up(trained):
    words = "launch.workers=0,launch.threads=1,student.training.images=64,student.training.batch_size=16"
    distill = ["--pipeline=distill", f"--params={words},student.training.checkpoint_every=16"]
    assert run(trained, *distill).exit_code == 0
    (folder,) = [p.parent for p in trained.glob("runs/test/cd-*/model")]
    shutil.rmtree(folder / "model")
    for file in folder.glob("checkpoints/*/checkpoint.json"):
        facts = json.loads(file.read_text())
        facts["job"]["seed"] = 7
        facts["seal"] = seal({name: value for name, value in facts.items() if name != "seal"})
        file.write_text(json.dumps(facts))
    output = refused(trained, *distill)
    assert re.search(r"belong to another configuration \(seed differ\): .*fresh=true", output)
    assert run(trained, distill[0], f"{distill[1]},fresh=true").exit_code == 0


@pytest.mark.slow
def test_a_full_disk_ends_a_run_in_words(trained, small_disk):
    disk = small_disk(600_000)
    runs = trained.root / "runs"
    away = runs.with_name("runs.away")
    runs.rename(away)
    runs.symlink_to(disk)
    try:
        output = refused(trained, "--pipelines=distill", "--params=launch.workers=0")
    finally:
        runs.unlink()
        away.rename(runs)
    assert re.search(r"Error: .*the disk is full: .* was not written to .*make room", output)


@pytest.mark.slow
def test_missing_inception_weights_fail_at_once(project):
    output = refused(project, "--params=evaluation.features=inception,evaluation.features_weights=nowhere.pth")
    assert re.search(r"nowhere.pth", output) and "Inception" in output
    assert made(project) == []
