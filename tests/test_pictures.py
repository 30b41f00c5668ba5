"""Pictures of the README and docs/, by the words that they were drawn with."""

import re
from pathlib import Path

from PIL import Image

from fewstep.pipeline_registry import register_pipelines

PICTURES = Path(__file__).parents[1] / "docs/pictures"
HIGHEST = 260  # pixels of the README's first picture: the commands below it stay in sight


def words_of(name: str) -> list[str]:
    return Image.open(PICTURES / name).text["Description"].splitlines()


def test_the_first_picture_shows_the_committed_scores_and_times(committed_metrics):
    rows = [re.fullmatch(r"(\w+), (\d+) calls?: (.+) ms, FID (.+)", row).groups() for row in words_of("hero.png")]
    assert [(who, int(nfe)) for who, nfe, *_ in rows] == [("student", 1), ("teacher", 9), ("teacher", 35)]
    for who, nfe, milliseconds, fid in rows:
        facts = committed_metrics["cd" if who == "student" else who]
        assert milliseconds == f"{1000 / facts[f'sampling_images_per_second/nfe_{int(nfe):02d}']:.1f}"
        assert fid == f"{facts[f'fid_digits/nfe_{int(nfe):02d}']:.1f}"
    assert Image.open(PICTURES / "hero.png").height <= HIGHEST


def test_the_graph_has_the_nodes_and_the_datasets_of_a_run():
    pipelines = register_pipelines()
    run = pipelines["__default__"]
    made, drawn = run.all_outputs(), set()
    for node in run.nodes:
        stage = next(name for name, pipeline in pipelines.items() if node in pipeline.nodes)
        read = ", ".join(name for name in node.inputs if name in made)
        written = ", ".join(name for name in node.outputs if name != "registry")  # MLflow's, in no layer
        drawn.add(f"{stage}, {node.name}: {read} -> {written}")
    assert set(words_of("pipelines.png")) == drawn
