"""Where a training is shown beside MLflow: TensorBoard, Weights & Biases, trackio.

A mirror gets what a Follower passes on, and the scores. Nothing depends on it: if it fails there is a warning, and the
training goes on.
"""

import logging
import os
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from fewstep.support.errors import InvalidInput
from fewstep.support.json_text import parse_json
from fewstep.tracking.follow import Picture
from fewstep.tracking.mlflow_calls import NOT_METRICS

log = logging.getLogger(__name__)


class Mirror(Protocol):
    """One of these places, open for a training. Its steps are images seen."""

    def numbers(self, values: Mapping[str, float], images: int) -> None:
        """Show numbers by their names."""
        ...

    def picture(self, key: str, file: Path, images: int) -> None:
        """Show a PNG."""
        ...

    def close(self) -> None:
        """Show everything, and end."""
        ...


class TensorBoard:
    """Event files in the folder of the training: `tensorboard --logdir runs` shows all trainings."""

    def __init__(self, folder: Path, experiment: str, name: str, params: Mapping[str, Any]):
        from tensorboardX import SummaryWriter

        # Its own names have the second alone: two sessions of one second would write the same file.
        self._writer = SummaryWriter(str(folder / "tensorboard"), filename_suffix=f".{time.time_ns()}")

    def numbers(self, values: Mapping[str, float], images: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, images)

    def picture(self, key: str, file: Path, images: int) -> None:
        import numpy as np
        from PIL import Image

        with Image.open(file) as picture:
            self._writer.add_image(key, np.asarray(picture.convert("RGB")), images, dataformats="HWC")

    def close(self) -> None:
        self._writer.close()


class WeightsAndBiases:
    """A run that lies in the folder of the training: `wandb sync` sends it. WANDB_MODE=online sends it at once."""

    def __init__(self, folder: Path, experiment: str, name: str, params: Mapping[str, Any]):
        wandb = import_module("wandb")

        mode: Any = os.environ.get("WANDB_MODE", "offline")
        about = {"project": experiment, "name": name, "id": folder.name, "config": dict(params)}
        silent = wandb.Settings(silent=True, console="off")
        self._run = wandb.init(**about, dir=str(folder), mode=mode, resume="allow", settings=silent)
        self._run.define_metric("*", step_metric="images")
        self._image = wandb.Image

    def numbers(self, values: Mapping[str, float], images: int) -> None:
        self._run.log({**values, "images": images})

    def picture(self, key: str, file: Path, images: int) -> None:
        self._run.log({key: self._image(str(file)), "images": images})

    def close(self) -> None:
        self._run.finish()


class Trackio:
    """A run in trackio's own place on this machine (TRACKIO_DIR): `trackio show` opens it."""

    def __init__(self, folder: Path, experiment: str, name: str, params: Mapping[str, Any]):
        trackio = import_module("trackio")

        about = {"project": experiment, "name": f"{name} {folder.name[-12:]}", "config": dict(params)}
        self._run = trackio.init(**about, resume="allow", embed=False)
        self._image = trackio.Image

    def numbers(self, values: Mapping[str, float], images: int) -> None:
        self._run.log(dict(values), step=images)

    def picture(self, key: str, file: Path, images: int) -> None:
        self._run.log({key: self._image(str(file))}, step=images)

    def close(self) -> None:
        self._run.finish()


Open = Callable[[Path, str, str, Mapping[str, Any]], Mirror]
MIRRORS: dict[str, tuple[str, Open]] = {  # {name: (package, what opens it)}
    "tensorboard": ("tensorboardX", TensorBoard),
    "trackio": ("trackio", Trackio),
    "wandb": ("wandb", WeightsAndBiases),
}


def check_mirrors(names: Sequence[str]) -> None:
    """Raise InvalidInput for a mirror whose package is not installed."""
    for name in names:
        package, _ = MIRRORS[name]
        if not find_spec(package):
            raise InvalidInput(f"tracking.mirrors: {name} needs the package {package}: pip install 'fewstep[{name}]'")


class Mirrors:
    """The mirrors of one training. Each gets every entry and picture once, over all sessions of the training."""

    def __init__(self, folder: Path, names: Sequence[str], experiment: str, name: str, params: Mapping[str, Any]):
        self._file, self._about = folder / "mirrors.json", (folder, experiment, name, params)
        self._names, self._opened = list(names), dict[str, Mirror]()
        self._shown = _read(self._file)  # {mirror: names of what it has: images seen of entries, names of pictures}

    def open(self) -> None:
        """Begin a session."""
        for name in [name for name in self._names if name not in self._opened]:
            with self._guarded(name):
                self._opened[name] = MIRRORS[name][1](*self._about)

    def __call__(self, entries: Sequence[dict[str, Any]], pictures: Sequence[Picture]) -> None:
        """New entries and pictures of a Follower, shown in the order of images seen."""
        events = [
            *((entry["images"], entry) for entry in entries),
            *((picture.images, picture) for picture in pictures),
        ]
        for name, mirror in list(self._opened.items()) if events else ():
            shown = self._shown.setdefault(name, [])
            with self._guarded(name):
                for images, event in sorted(events, key=lambda event: event[0]):
                    if (known := event.path.name if isinstance(event, Picture) else images) not in shown:
                        _show(mirror, images, event)
                        shown.append(known)
        if events and self._names:
            self._save()

    def log_scores(self, flat: Mapping[str, float], images: int) -> None:
        """Scores of the model, once its training has ended."""
        if self._names:
            self.open()
            for name, mirror in list(self._opened.items()):
                with self._guarded(name):
                    mirror.numbers(flat, images)
            self.close()

    def close(self) -> None:
        """End the session."""
        while self._opened:
            name, mirror = self._opened.popitem()
            with self._guarded(name):
                mirror.close()

    @contextmanager
    def _guarded(self, name: str) -> Generator[None]:
        """A mirror that fails here gets no more of this training."""
        try:
            yield
        except Exception as problem:
            log.warning("%s failed and gets no more of this training: %s", name, problem)
            self._names.remove(name)
            self._opened.pop(name, None)

    def _save(self) -> None:
        from fewstep.support.files import write_json

        write_json(self._file, self._shown)


def _show(mirror: Mirror, images: int, event: "dict[str, Any] | Picture") -> None:
    if isinstance(event, Picture):
        mirror.picture(event.key, event.path, images)
    else:
        numbers = {k: v for k, v in event.items() if k not in NOT_METRICS and isinstance(v, int | float)}
        mirror.numbers(numbers, images)


def _read(file: Path) -> dict[str, list[Any]]:
    """What was shown in earlier sessions; nothing where the file is missing or damaged."""
    try:
        return {name: list(shown) for name, shown in parse_json(file.read_text()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
