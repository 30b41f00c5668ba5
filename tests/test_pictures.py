"""The README's picture of the pipelines, by the words that it was drawn with."""

from pathlib import Path

from PIL import Image

from fewstep.pipeline_registry import register_pipelines

PICTURE = Path(__file__).parents[1] / "docs/pictures/pipelines.png"


def test_the_graph_has_the_nodes_and_the_datasets_of_a_run():
    pipelines = register_pipelines()
    run = pipelines["__default__"]
    made, drawn = run.all_outputs(), set()
    for node in run.nodes:
        stage = next(name for name, pipeline in pipelines.items() if node in pipeline.nodes)
        read = ", ".join(name for name in node.inputs if name in made)
        written = ", ".join(name for name in node.outputs if name != "registry")  # MLflow's, in no layer
        drawn.add(f"{stage}, {node.name}: {read} -> {written}")
    assert set(Image.open(PICTURE).text["Description"].splitlines()) == drawn
