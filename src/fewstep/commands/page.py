"""The demo's page: sliders, pictures, and what of the studio makes which."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import gradio as gr  # pyright: ignore[reportMissingImports] (of the extra "demo")
import numpy as np
from PIL import Image

from fewstep.commands.demo_studio import Studio, check_upload
from fewstep.data.class_names import numbered
from fewstep.support.errors import UserError

LARGEST_SEED, MOST_NFE, MOST_FRAMES, TEACHER_NFE, ANY = 9999, 10, 16, 35, -1
EVERY = 10  # seconds from one look at the registry to the next
EXACT: dict[str, Any] = {"type": "pil", "format": "png"}  # WebP, otherwise sent, changes pixels that are to stay


@dataclass(frozen=True)
class Controls:
    """What every tab looks at. fresh: the page is new, or another version is served."""

    seed: gr.Slider
    nfe: gr.Slider
    label: gr.Dropdown
    fresh: Sequence

    @property
    def values(self) -> list:
        return [self.seed, self.nfe, self.label]


def build_page(studio: Studio) -> gr.Blocks:
    """Not yet open."""
    with gr.Blocks(title="Fewstep", analytics_enabled=False) as page:
        with gr.Row():
            words = gr.Markdown(studio.words())
            again = gr.Button("reload the model", scale=0)
        with gr.Row():
            seed = gr.Slider(0, LARGEST_SEED, 0, step=1, label="seed")
            nfe = gr.Slider(1, MOST_NFE, 1, step=1, label="network evaluations (NFE)")
            label = _labels(studio)
        _show(studio.reload, [], words, [again.click, gr.Timer(EVERY).tick, page.load])
        _show(lambda: _labels(studio), [], label, [words.change])
        controls = Controls(seed, nfe, label, [page.load, words.change])
        for name, fill in TABS.items():
            with gr.Tab(name):
                fill(studio, controls)
    return page


def _labels(studio: Studio) -> gr.Dropdown:
    """Of the version that is shown."""
    names = [("any", ANY), *((numbered(number, studio.labels), number) for number in range(len(studio.labels)))]
    return gr.Dropdown(names, value=ANY, label="label", visible=bool(studio.labels))


def _make(studio: Studio, controls: Controls) -> None:
    with gr.Row():
        made = _picture("student")
        taught = _picture(f"teacher, {TEACHER_NFE} evaluations")
    _show(_drawing(studio), controls.values, made, [*_changes(controls.values), *controls.fresh])
    who = [controls.seed, controls.label]

    def teach(seed: int, label: int) -> Image.Image | None:
        return studio.draw_teacher(int(seed), TEACHER_NFE, _label(label))

    _show(teach, who, taught, [*_changes(who), *controls.fresh])


def _inpaint(studio: Studio, controls: Controls) -> None:
    with gr.Row():
        canvas, made = _canvas(studio, "paint over what is to be made anew"), _picture("inpainted")

    def inpaint(edit: dict[str, Any] | None, seed: int, nfe: int, label: int) -> Image.Image | None:
        if not edit or not edit["background"] or (missing := painted_over(edit)) is None:
            return None
        # of another seed: that of the picture would make it once more
        return studio.inpaint(edit["background"], missing, int(nfe), int(seed) + 1, _label(label))

    _show(_drawing(studio), controls.values, canvas, [*_changes([controls.seed, controls.label]), *controls.fresh])
    _show(inpaint, [canvas, *controls.values], made, [canvas.input, *_changes([canvas, controls.nfe])])


def _stroke(studio: Studio, controls: Controls) -> None:
    with gr.Row():
        canvas, made = _canvas(studio, "paint, and it becomes an image"), _picture("after the painting")

    def stroke(edit: dict[str, Any] | None, seed: int, nfe: int, label: int) -> Image.Image | None:
        if not edit or not edit["composite"]:
            return None
        return studio.stroke(edit["composite"], int(nfe), int(seed), _label(label))

    _show(_drawing(studio), controls.values, canvas, controls.fresh)
    _show(stroke, [canvas, *controls.values], made, [canvas.input, *_changes([canvas, *controls.values])])


def _interpolate(studio: Studio, controls: Controls) -> None:
    with gr.Row():
        other = gr.Slider(0, LARGEST_SEED, 1, step=1, label="the other seed")
        frames = gr.Slider(2, MOST_FRAMES, 8, step=1, label="frames")
    strip = _picture("from one seed to the other")

    def interpolate(seed: int, nfe: int, label: int, other: int, frames: int) -> Image.Image:
        return studio.interpolate(int(seed), int(other), int(frames), int(nfe), _label(label))

    inputs = [*controls.values, other, frames]
    _show(interpolate, inputs, strip, [*_changes(inputs), *controls.fresh])


TABS: dict[str, Callable[[Studio, Controls], None]] = {
    "make": _make,
    "inpaint": _inpaint,
    "strokes": _stroke,
    "interpolate": _interpolate,
}


def painted_over(edit: dict) -> np.ndarray | None:
    """[H, W], above 0 where a layer of an edited image is painted; None where nothing is."""
    layers = [np.asarray(layer.convert("RGBA"))[..., 3] for layer in edit["layers"]]
    return np.max(layers, axis=0) if any(layer.any() for layer in layers) else None


def theme() -> gr.themes.Base:
    """Of fonts that are on the machine: no other server is asked."""
    return gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])


def looking_first(read: Callable) -> Callable:
    """How an editor reads a picture, once its size was looked at. The picture: its bytes, or where they are."""

    def look_and_read(file: Any, *more: Any, **options: Any) -> Any:
        if file is not None:
            shown(check_upload)(BytesIO(file) if isinstance(file, bytes) else Path(file.path))
        return read(file, *more, **options)

    return look_and_read


def shown(function: Callable) -> Callable:
    """The function, whose sentences about what a person can mend are shown on the page."""

    def call(*given: Any) -> Any:
        try:
            return function(*given)
        except UserError as problem:
            raise gr.Error(str(problem), print_exception=False) from None

    return call


def _show(function: Callable, inputs: list, output: gr.components.Component, events: Sequence) -> None:
    """What the function makes, at once after these events."""
    how: dict[str, Any] = {"show_progress": "hidden", "trigger_mode": "always_last", "api_visibility": "private"}
    gr.on(events, shown(function), inputs, output, **how)


def _drawing(studio: Studio) -> Callable:
    return lambda seed, nfe, label: studio.draw(int(seed), int(nfe), _label(label))


def _changes(components: Sequence) -> list:
    return [component.change for component in components]


def _label(number: int) -> int | None:
    return None if number == ANY else int(number)


def _picture(label: str) -> gr.Image:
    return gr.Image(label=label, interactive=False, **EXACT)


def _canvas(studio: Studio, label: str) -> gr.ImageEditor:
    size = studio.draw(0, 1).size
    canvas = gr.ImageEditor(label=label, layers=False, sources=["upload"], canvas_size=size, **EXACT)
    # of this one alone: Gradio writes a file of types beside the source of a class of ours
    canvas.convert_and_format_image = looking_first(canvas.convert_and_format_image)
    return canvas
