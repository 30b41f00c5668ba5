"""`fewstep drift`, of a real server and of saved pictures."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from fewstep.cli import main
from fewstep.data import ingest
from fewstep.evaluation.features.choice import choose_extractor

pytestmark = pytest.mark.slow


def typed(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["drift", *map(str, words)])
    return result.exit_code, result.stdout + result.stderr


@pytest.fixture
def project(here):
    """A project with digits and their features."""
    store = ingest({"name": "digits"}, here / "data/02_intermediate/digits/images")
    choose_extractor(store, "digits", None, here / "data/03_primary/digits/extractor")
    return store


def test_a_server_is_compared_with_its_model_and_saved_pictures_with_data(project, serve, finished_model, here):
    server = f"http://127.0.0.1:{serve(2**20)}"
    same, other = finished_model(labels=True), finished_model(seed=1, labels=True)
    code, said = typed(server, "--model", same.folder, "--count=300")
    assert code == 0 and f"no drift of {server} from {same.folder}: KID " in said, said
    (here / "conf/local/parameters.yml").write_text('tracking: {notify: ["cat > told.json"]}\n')
    code, said = typed(server, "--model", other.folder, "--count=300", "--json")
    assert code == 3, said
    found = json.loads(said[said.index("{") :])
    assert found["drifted"] and found["pictures"] == 300 and 0 < found["interval"][0] < found["kid"]
    told = json.loads((here / "told.json").read_text())
    assert told["event"] == "drift" and told["text"].startswith(f"drift: {server} differs from {other.folder}: KID ")

    np.save("served.npy", project.images("train")[:200])
    code, said = typed("served.npy", "--heldout", "--bound=0.05", "--count=200")
    assert code == 0 and "no drift of served.npy from the held-out images of digits: KID" in said, said
    for words, message in (
        (("served.npy", "--heldout"), "give it a --bound"),
        (("served.npy", "--count=99"), "at least 100 pictures on both sides, got 99"),
        ((server, "--nfe=65"), "nfe must be between 1 and 64, got 65"),
        (("http://127.0.0.1:9",), "127.0.0.1:9 does not answer"),
    ):
        code, said = typed(*words)
        assert code == 1 and message in said, said
