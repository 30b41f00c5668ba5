"""The demo's page, in a browser if there is one."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from fewstep.cli import main
from fewstep.commands.demo_studio import Studio
from fewstep.registry import force, register


@pytest.fixture
def model(make):
    return make("cd", 3, labels=True)  # bright in the middle, where tests paint


def test_without_gradio_the_extra_is_named(model):
    if find_spec("gradio"):
        pytest.skip("gradio is here")
    said = CliRunner().invoke(main, ["demo", "--model", str(model.folder)])
    assert said.exit_code == 1
    assert "pip install 'fewstep[demo]'" in said.output


def test_what_is_painted_over_is_where_a_layer_is():
    pytest.importorskip("gradio", reason="of the extra 'demo': it is the page")
    from fewstep.commands.page import painted_over

    layer = Image.new("RGBA", (4, 4))
    layer.putpixel((1, 2), (255, 0, 0, 90))
    assert painted_over({"layers": [Image.new("RGBA", (4, 4))]}) is None
    assert np.argwhere(painted_over({"layers": [layer]})).tolist() == [[2, 1]]


def test_what_is_painted_becomes_one_of_the_label(model):
    gr = pytest.importorskip("gradio", reason="of the extra 'demo': it is the page")
    from fewstep.commands.page import build_page

    studio = Studio(str(model.folder))
    page, picture, layer = build_page(studio), studio.draw(0, 1), Image.new("RGBA", (320, 320))
    layer.paste((255, 0, 0, 255), (80, 80, 240, 240))
    edit = {"background": picture, "layers": [layer], "composite": picture}
    paint = [f for f in page.fns.values() if any(isinstance(part, gr.ImageEditor) for part in f.inputs)]
    assert len(paint) == 2
    for function in paint:
        three, four = (function.fn(edit, 0, 1, label) for label in (3, 4))
        assert three.tobytes() != four.tobytes()


def test_what_is_uploaded_is_looked_at_before_its_pixels_are_read(model, tmp_path):
    gr = pytest.importorskip("gradio", reason="of the extra 'demo': it is the page")
    from gradio.components.image_editor import EditorData
    from gradio.data_classes import FileData

    from fewstep.commands.page import build_page

    page = build_page(Studio(str(model.folder)))
    canvases = [block for block in page.blocks.values() if isinstance(block, gr.ImageEditor)]
    assert len(canvases) == 2
    Image.new("L", (320, 200), 7).save(tmp_path / "small.png")
    Image.new("1", (4097, 4096)).save(tmp_path / "large.png")
    (tmp_path / "page.png").write_text("<html>")
    for canvas in canvases:

        def seen(name: str, canvas=canvas):
            given = FileData(path=str(tmp_path / name), orig_name=name)
            return canvas.preprocess(EditorData(background=given, layers=[], composite=given))

        assert seen("small.png")["background"].size == (320, 200)
        with pytest.raises(gr.Error, match=r"it has 4,097 x 4,096 pixels, and at most 16,777,216 are taken"):
            seen("large.png")
        with pytest.raises(gr.Error, match="the picture cannot be read"):
            seen("page.png")


@contextmanager
def served(*words, folder: Path, every: int = 3600):
    """The address of the page of a command as typed in a folder. every: seconds between looks at the registry."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = f"from fewstep.commands import page; page.EVERY = {every}; from fewstep.cli import main; main()"
    command = [sys.executable, "-c", code, "demo", *words, "--port", str(port)]
    process, address = subprocess.Popen(command, cwd=folder, start_new_session=True), f"http://127.0.0.1:{port}"
    try:
        for _ in range(120):
            assert process.poll() is None
            try:
                urllib.request.urlopen(address).close()
                break
            except OSError:
                time.sleep(0.5)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)


SHOWN = (
    """[...document.querySelectorAll('img')].filter(i => i.offsetParent && i.src.includes('/file=')).map(i => i.src)"""
)


@pytest.fixture
def page(model, open_page, tmp_path):
    """A student's page in a browser, once its pictures are there."""
    pytest.importorskip("gradio", reason="of the extra 'demo': it is the page")
    words = ("--model", model.folder, "--teacher", model.folder)
    with served(*words, folder=tmp_path) as address, open_page(address) as page:
        page.wait(f"{SHOWN}.length == 2")
        yield page


def place_of(page, script: str) -> tuple[float, float]:
    """The middle of an element, once it stays where it is."""
    box = f"(r => [r.x + r.width / 2, r.y + r.height / 2, r.width])(({script}).getBoundingClientRect())"
    before = None
    while (found := page.wait(box)) != before:
        before = found
        time.sleep(0.3)
    x, y, width = found
    assert width
    return x, y


def press(page, kind: str, words: str) -> None:
    """Click on what has these words."""
    page.click(*place_of(page, f"[...document.querySelectorAll('{kind}')].find(t => t.innerText.trim() == '{words}')"))


def pixels(picture: Image.Image) -> np.ndarray:
    """At the model's size."""
    return np.asarray(picture.convert("L").resize((8, 8), Image.NEAREST))


def seen(place: str) -> np.ndarray:
    """Of a picture on the page."""
    return pixels(Image.open(urllib.request.urlopen(place)))


@pytest.mark.check
def test_a_large_file_is_refused(model, tmp_path):
    pytest.importorskip("gradio", reason="of the extra 'demo': it is the page")
    edges = b'--edge\r\ncontent-disposition: form-data; name="files"; filename="x.png"\r\n\r\n', b"\r\n--edge--\r\n"
    kind = {"content-type": "multipart/form-data; boundary=edge"}
    with served("--model", model.folder, folder=tmp_path) as address:
        for size, status in ((2**10, 200), (2**24 + 1, 413)):
            body = edges[0] + bytes(size) + edges[1]
            request = urllib.request.Request(f"{address}/gradio_api/upload", body, kind)
            try:
                found = urllib.request.urlopen(request).status
            except urllib.error.HTTPError as problem:
                found, said = problem.code, problem.read().decode()
            assert found == status
    assert said == "File size exceeded maximum allowed size of 16777216 bytes."


@pytest.mark.check
def test_a_moved_slider_makes_other_pictures(page, tmp_path):
    words = page.value("document.body.innerText")
    assert "seed" in words and "network evaluations (NFE)" in words
    before = page.value(SHOWN)
    x, y = place_of(page, "document.querySelectorAll('input[type=range]')[0]")
    page.click(x, y)
    student, teacher = page.wait(f"(now => now[0] != '{before[0]}' && now[1] != '{before[1]}' && now)({SHOWN})")
    x, y = place_of(page, "document.querySelectorAll('input[type=range]')[1]")
    page.click(x, y)
    other, same = page.wait(f"(now => now[0] != '{student}' && now)({SHOWN})")
    assert same == teacher != other
    page.picture(tmp_path / "moved.png")
    asked = page.value("performance.getEntriesByType('resource').map(e => e.name)")
    assert [name for name in asked if not name.startswith(("http://127.0.0.1", "data:", "blob:"))] == []


def paint(page) -> None:
    """A stroke in the middle of the canvas."""
    x, y = place_of(page, "[...document.querySelectorAll('canvas')].find(c => c.offsetParent)")
    time.sleep(3)  # the editor draws its background
    page.click(x - 40, y - 40, *((x - 40 + 8 * n, y - 40 + 8 * (n % 3)) for n in range(12)))


@pytest.mark.check
def test_painting_over_a_picture_makes_that_part_anew(page, model, tmp_path):
    press(page, "[role=tab]", "inpaint")
    paint(page)
    (place,) = page.wait(f"(now => now.length == 1 && now)({SHOWN})")
    page.picture(tmp_path / "inpainted.png")
    before, after = model.load("cpu").sample(nfe=1, seed=0, indices=range(1))[0, 0], seen(place)
    painted = np.zeros((8, 8), bool)
    painted[1:6, 1:7] = True
    assert np.array_equal(after[~painted], before[~painted])
    assert (after != before)[2:4, 3:5].any()


@pytest.mark.check
def test_a_painting_becomes_an_image(page, model, tmp_path):
    studio = Studio(str(model.folder))
    press(page, "[role=tab]", "strokes")
    (before,) = page.wait(f"(now => now.length == 1 && now)({SHOWN})")
    assert np.array_equal(seen(before), pixels(studio.stroke(studio.draw(0, 1), 1, 0)))
    paint(page)
    page.wait(f"{SHOWN}[0] != '{before}'")
    page.picture(tmp_path / "painted.png")


@pytest.mark.check
def test_a_strip_between_two_seeds(page, tmp_path):
    press(page, "[role=tab]", "interpolate")
    (before,) = page.wait(f"(now => now.length == 1 && now)({SHOWN})")
    x, y = place_of(page, "[...document.querySelectorAll('input[type=range]')].filter(i => i.offsetParent)[2]")
    page.click(x, y)
    page.wait(f"{SHOWN}[0] != '{before}'")
    page.picture(tmp_path / "strip.png")


@pytest.mark.check
@pytest.mark.parametrize("way, every", [("button", 3600), ("visit", 3600), ("clock", 1)])
def test_another_champion_is_shown(way, every, make, backend, scores, open_page, tmp_path):
    """At once by the button and to who comes, and now and then to who stays; with its picture and its labels."""
    pytest.importorskip("gradio", reason="of the extra 'demo': it is the page")
    other = make("cd", 1, labels=True)
    for number, student in enumerate((make("cd"), other)):
        register(student, scores(9.0 - number), backend)
    words = ("--model", "models:/fewstep-digits@champion")
    with served(*words, folder=tmp_path, every=every) as address, open_page(address) as page:
        page.read("fewstep-digits version 1", "seed")
        assert "label" not in page.value("document.body.innerText")
        (before,) = page.wait(f"(now => now.length == 1 && now)({SHOWN})")
        force(backend, "fewstep-digits", 2, "better")
        if way == "button":
            press(page, "button", "reload the model")
        elif way == "visit":
            page.send("Page.reload")
        page.read("fewstep-digits version 2", "label")
        (place,) = page.wait(f"(now => now.length == 1 && now[0] != '{before}' && now)({SHOWN})")
        page.picture(tmp_path / "promoted.png")
        assert np.array_equal(seen(place), other.load("cpu").sample(nfe=1, seed=0, indices=range(1))[0, 0])
