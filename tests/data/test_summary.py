"""What ingestion says that it found, changed and left out."""

import json
import os

import numpy as np
from PIL import Image

from fewstep.data import ArrayStore, describe, ingest

PIXELS = np.random.RandomState(0).randint(0, 256, (16, 20, 4)).astype(np.uint8)


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def test_everything_in_a_folder_is_told(tmp_path):
    root = tmp_path / "in"
    for i in range(8):
        save(root / "ant" / f"{i}.png", PIXELS[..., :3])
        save(root / "bee" / f"{i}.png", PIXELS if i == 3 else PIXELS[:12, ..., :3])
    save(root / "bee" / "8.png", PIXELS[..., 0])
    (root / "ant" / "page.png").write_text("<!DOCTYPE html>")
    (root / "bee" / "pointer.png").write_text("version https://git-lfs.github.com/spec/v1\n")
    spec = {"name": "folder", "path": str(root), "resolution": [16, 16], "skip_broken": True}
    lines = describe(ingest(spec, tmp_path / "out", name="insects"))
    assert lines[0] == "insects: 17 images, 16 pixels high and 16 wide, 3 channels (RGB)"
    expected = [
        "split: 13 for training, 4 held out, a share of 0.25 drawn by seed 0",
        "classes: 2, by number, name and count: 0 ant (8), 1 bee (9)",
        f"pictures as found, width x height: from 20x12 ({root}/bee/0.png) to 20x16 ({root}/ant/0.png)",
        f"converted: cropped to the middle (17), such as {root}/ant/0.png",
        f"converted: enlarged (7), such as {root}/bee/0.png",
        f"converted: grayscale to colour (1), such as {root}/bee/8.png",
        f"converted: transparent, shown on white (1), such as {root}/bee/3.png",
        f"left out: pictures that cannot be read (2), such as {root}/ant/page.png",
    ]
    assert [line.strip() for line in lines[-8:]] == expected
    found = json.loads((tmp_path / "out" / "store.json").read_text())["source"]["found"]
    assert found["classes"] == {"0 ant": 8, "1 bee": 9}
    assert found["converted"]["transparent"] == [1, f"{root}/bee/3.png"]
    assert found["skipped"] == [f"{root}/ant/page.png", f"{root}/bee/pointer.png"]


def test_nothing_changed_and_nothing_left_out_is_told_too(tmp_path):
    store = ingest({"name": "moons", "count": 40}, tmp_path / "out")
    assert describe(store) == [
        "moons: 40 points of 2 numbers",
        "  split: 30 for training, 10 held out, a share of 0.25 drawn by seed 0",
        "  classes: 2, by number, name and count: 0 upper (20), 1 lower (20)",
        "  converted: nothing",
        "  left out: nothing",
    ]


def test_a_store_of_an_older_version_is_told_as_far_as_it_is_known(tmp_path):
    file = ingest({"name": "moons", "count": 40}, tmp_path / "out").folder / "store.json"
    facts = json.loads(file.read_text())
    facts["source"] = {"name": "moons", "converted": {"palette": 2}, "skipped": []}
    file.write_text(json.dumps(facts))
    assert describe(ArrayStore.open(file.parent))[1] == "  split: 30 for training, 10 held out"


def test_names_that_are_not_utf8_are_written_all_the_same(tmp_path):
    root = tmp_path / "in"
    for i in range(4):
        save(root / f"{i}.png", PIXELS)
    os.rename(os.fsencode(root / "0.png"), os.fsencode(root) + b"/\xff.png")
    (root / "1.png").write_text("")
    store = ingest({"name": "folder", "path": str(root), "skip_broken": True}, tmp_path / "out")
    assert store.source["found"]["converted"]["transparent"] == [3, f"{root}/2.png"]
    (root / "2.png").rename(root / "z.png")
    (root / "3.png").rename(root / "zz.png")
    for left in (root / "z.png", root / "zz.png"):
        save(left, PIXELS[:8, ..., :3])
    spec = {"name": "folder", "path": str(root), "skip_broken": True, "resolution": 4}
    found = ingest(spec, tmp_path / "out").source["found"]
    assert found["converted"]["transparent"] == [1, f"{root}/\\udcff.png"]
    assert found["sizes"].endswith("to 20x16 ({root}/\\udcff.png)".replace("{root}", str(root)))
