"""`fewstep evaluate`, as typed."""

import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from fewstep.cli import main
from fewstep.data import ingest
from fewstep.evaluation.features.choice import choose_extractor

pytestmark = pytest.mark.slow


@pytest.fixture
def project(here):
    """A project with points, arrays a.npy and b.npy of them, and a.npy's scores over one seed."""
    store = ingest({"name": "moons", "count": 200}, here / "data/02_intermediate/moons/images")
    choose_extractor(store, "digits", None, here / "data/03_primary/moons/extractor")
    for n, name in enumerate("ab"):
        np.save(f"{name}.npy", np.random.default_rng(n).normal(size=(90, 2)).astype(np.float32))
    np.savez("several.npz", a=np.zeros(2))
    Path("several.npz").rename("several.npy")
    typed("a.npy --count=40 --seed=7 --output=a.json", 0)
    return here


def typed(words: str, code: int) -> str:
    result = CliRunner().invoke(main, ["evaluate", "--env=moons", *words.split()])
    assert result.exit_code == code, result.output
    return result.output


def test_count_and_seeds_are_those_of_the_scores_beside(project):
    told = typed("b.npy --beside=a.json --output=b.json", 0)
    assert "a.npy" in told and "b.npy" in told
    made = json.loads((project / "b.json").read_text())
    assert (made["count"], made["seeds"]) == (40, [7])


def test_without_a_count_there_are_as_many_as_the_samples_give(project):
    typed("b.npy --output=b.json", 0)
    made = json.loads((project / "b.json").read_text())
    assert (made["count"], made["seeds"]) == (30, [0, 1, 2])


@pytest.mark.parametrize(
    "words, message",
    [
        ("b.npy --beside=a.json --count=30", "the sample count differs (30 here, 40 there)"),
        ("b.npy --beside=a.json --seed=1", "the set of seeds differs ([1] here, [7] there)"),
        ("b.npy --count=91 --seed=7", "91 samples for each of the seeds 7 need 91 samples, and b.npy has 90."),
        ("several.npy", "several.npy must hold one array (.npy), and it holds several (.npz)."),
        ("b.npy --beside=conf/base/globals.yml", "--beside must be a scores.json, got conf/base/globals.yml"),
        ("b.npy --output=nowhere/b.json", "there is no folder nowhere"),
        (
            "b.npy --steps=5",
            "--compile are for models, and b.npy holds samples: leave them out.",
        ),
        ("b.npy --precision=bf16", "--precision and --compile are for models"),
        (
            "b.npy --sampler=heun",
            "--compile are for models, and b.npy holds samples: leave them out.",
        ),
    ],
)
def test_what_cannot_be_is_said_before_any_work(words, message, project):
    assert message in typed(f"--output=b.json {words}", 1)
    assert not (project / "b.json").exists()


def test_data_that_are_not_there_are_made_in_the_same_configuration(project):
    shutil.rmtree(project / "data/02_intermediate")
    assert "kedro run --env=moons --pipelines=ingest" in typed("a.npy", 1)


def test_pictures_are_read_wherever_ingestion_reads_them(here):
    """The same pictures, in folders, in a tar, and in arrays as NumPy and OpenAI have them: the same scores."""
    store = ingest({"name": "digits"}, here / "data/02_intermediate/digits/images")
    choose_extractor(store, "digits", None, here / "data/03_primary/digits/extractor")
    images = store.images("heldout")[:40]
    for number, image in enumerate(images):
        file = here / "pictures" / f"{number // 20:05d}" / f"{number:04d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0]).save(file)
    (here / "pictures/00000/._0000.png").write_bytes(b"x")
    with tarfile.open("a.tar.gz", "w:gz") as archive:
        archive.add("pictures")
    np.save("a.npy", images)
    np.savez("a.npz", images.transpose(0, 2, 3, 1), np.zeros(40, int))
    found = []
    for place in ("pictures", "a.tar.gz", "a.npy", "a.npz"):
        result = CliRunner().invoke(main, ["evaluate", place, "--count=40", "--seed=0", "--output=out.json"])
        assert result.exit_code == 0, result.output
        found.append(json.loads(Path("out.json").read_text())["rows"][0]["scores"])
    assert all(scores == found[0] for scores in found)
    _statistics_are_a_reference(found[0])
    Image.fromarray(np.zeros((9, 8), np.uint8)).save("pictures/00000/0000.png")
    result = CliRunner().invoke(main, ["evaluate", "pictures"])
    assert result.exit_code == 1
    assert "0000.png must have 8 x 8 pixels, as digits have, got 8 x 9" in result.output


def _statistics_are_a_reference(usual):
    """Those of `fewstep statistics`, given to `fewstep evaluate`, are the training images themselves."""
    made = CliRunner().invoke(main, ["statistics", "ours.npz"])
    assert made.exit_code == 0 and "statistics of 1,348 images by the features digits in ours.npz" in made.output
    Path("conf/local/parameters.yml").write_text("evaluation: {reference: ours.npz}\n")
    try:
        result = CliRunner().invoke(main, ["evaluate", "a.npy", "--count=40", "--seed=0", "--output=out.json"])
        assert result.exit_code == 0, result.output
        scores = json.loads(Path("out.json").read_text())
        assert scores["rows"][0]["scores"]["fid_edm_digits"]["mean"] == pytest.approx(usual["fid_digits"]["mean"])
        assert list(scores["references"]) == ["edm"]
    finally:
        Path("conf/local/parameters.yml").unlink()
