"""The generator of a registered version, as MLflow loads and calls it (pyfunc)."""

import base64
import io
import logging
import os
import threading
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PythonModel, PythonModelContext

from fewstep.editing import levels_of
from fewstep.editing.edit_order import EditOrder, edited_part
from fewstep.models.model import Model, SavedModel
from fewstep.pictures.sheets import as_picture
from fewstep.registry.package import SEAL, seals_of
from fewstep.registry.versions import check_files, get_version, load_newer
from fewstep.serving.batching import BatchQueue, Order, OwnOrder
from fewstep.serving.edit_requests import order_of
from fewstep.serving.request import BadRequest, NotReloaded, Request, checked
from fewstep.support.errors import InvalidInput, UserError
from fewstep.tracking.backend import Backend

FOLLOW, EVERY = "FEWSTEP_FOLLOW", 10  # the alias that a server follows; seconds between two looks at the registry
REGISTERED = "registered_model_meta"  # MLflow has no public way to ask which version a file was loaded from
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Served:
    """A version while it is served. name, number: None if it was not loaded from a registry."""

    queue: BatchQueue
    name: str | None
    number: int | None


class Generator(PythonModel):
    """Samples and edits by the model of a version. With FEWSTEP_FOLLOW it follows an alias of the registry."""

    def load_context(self, context: PythonModelContext) -> None:
        """Raises MlflowException if the files differ from what MLmodel or the registry describes."""
        saved, registered = SavedModel.open(context.artifacts["model"]), context.model_config
        folder = Path(context.artifacts["model"]).parents[1]
        seals = seals_of(folder)
        if (saved.sha256, seals[SEAL]) != (registered["model_sha256"], registered[SEAL]):
            raise MlflowException("the files are not the registered ones: this version is not served")
        registered_as = _version(folder)
        if registered_as:
            _check_registered(saved, seals, *registered_as)
        self.serve(saved.load(), *(registered_as or (None, None)))

    def serve(self, model: Model, name: str | None = None, number: int | None = None) -> "Generator":
        """Serve this model. name, number: its registered model and version, None if it was not registered."""
        self.served = Served(BatchQueue(model), name, number)
        self.reloading, self.looked = threading.Lock(), time.monotonic()
        return self

    def predict(  # pyright: ignore[reportIncompatibleMethodOverride] (MLflow's own returns nothing)
        self, context: PythonModelContext | None, model_input: list[Request], params: dict[str, Any] | None = None
    ):
        """As MLflow calls it, which has validated the requests."""
        return self.answer(model_input)

    def answer(self, asked: list[Request]) -> list[dict]:
        """A dictionary for each request: images (base64 PNGs) or points, and how they were made.

        Raises Refusal for what cannot be answered.
        """
        if any(request.reload is True for request in asked):
            self._reload()
        elif os.environ.get(FOLLOW) and time.monotonic() > self.looked + EVERY:
            self.looked = time.monotonic()
            threading.Thread(target=self._follow, daemon=True).start()  # no caller waits for a registry
        served = self.served
        model = served.queue.model
        requests = checked(asked, model)
        edits = [order_of(request, model) if request.edit else None for request in requests]
        made = served.queue([_ordered(request, edit, model) for request, edit in zip(requests, edits, strict=True)])
        return [_answer(served, *answered) for answered in zip(requests, edits, made, strict=True)]

    def _follow(self) -> None:
        """Reload in the background. No caller waits for it, so a failure goes to the log."""
        try:
            self._reload()
        except MlflowException as problem:
            log.warning("%s", problem.message)

    def _reload(self) -> None:
        """Serve the version that has the followed alias now. If it cannot be loaded, the current one stays."""
        now, alias = self.served, os.environ.get(FOLLOW)
        if now.name is None:
            raise BadRequest("reload: this model was not loaded from a registry, so it has no newer version")
        if not alias:
            how = f"start it with {FOLLOW}=champion"
            raise BadRequest(f"reload: this server follows no alias and keeps version {now.number}: {how}")
        with self.reloading:
            try:
                backend = Backend.at(Path.cwd(), mlflow.get_tracking_uri())
                newer = load_newer(backend, now.name, alias, self.served.number)
            except UserError as problem:
                raise NotReloaded(f"not reloaded, version {now.number} is still served: {problem}") from None
            if newer:
                number, model = newer
                self.served = Served(BatchQueue(model.run_by(now.queue.model.execution)), now.name, number)
                log.warning("%s: version %s is served now, as %s", now.name, number, alias)


def _ordered(request: Request, edit: EditOrder | None, model: Model) -> Order | OwnOrder:
    """What a request has to wait for."""
    if edit is None:
        return Order(request.num_images, request.nfe, request.seed, request.class_number)
    return OwnOrder(edit.count, edit.nfe, partial(edited_part, edit, model))


def _answer(served: Served, request: Request, edit: EditOrder | None, made: np.ndarray) -> dict:
    model = served.queue.model
    shown = {"points": made.tolist()} if model.space.kind == "points" else {"images": [_png(i) for i in made]}
    # "steps" is the former name of "nfe", for callers from before.
    asked = {"nfe": request.nfe, "steps": request.nfe, "seed": request.seed, "label": request.class_number}
    if request.class_number is not None:
        asked["class"] = model.space.classes[request.class_number]
    levels = levels_of(model, edit.task, edit.nfe) if edit else model.levels(request.nfe)
    made_by = {"model_sha256": model.sha256, "model": served.name, "version": served.number}
    return {**shown, **asked, "levels": levels.tolist(), **made_by}


def _check_registered(model: SavedModel, seals: dict[str, str], name: str, number: int) -> None:
    """Compare with the hashes in the registry too: somebody may have replaced MLmodel together with the files."""
    try:
        backend = Backend.at(Path.cwd(), mlflow.get_tracking_uri())
        version = get_version(backend.existing(), name, number)
    except UserError as problem:
        log.warning("the files of %s version %s were not compared with the registry: %s", name, number, problem)
        return
    try:
        check_files(version, model, seals)
    except InvalidInput as problem:
        raise MlflowException(f"{problem}: it is not served") from None


def _version(folder: Path) -> tuple[str, int] | None:
    """Name and number of a version that was loaded from a registry, from two lines of YAML that MLflow writes."""
    if not (folder / REGISTERED).exists():
        return None
    lines = (line.partition(": ") for line in (folder / REGISTERED).read_text().splitlines())
    written = {key: value.strip(" '\"") for key, _, value in lines}
    return written["model_name"], int(written["model_version"])


def _png(image: np.ndarray) -> str:
    """[C, H, W] uint8 -> base64 of a PNG."""
    file = io.BytesIO()
    as_picture(image).save(file, "png")
    return base64.b64encode(file.getvalue()).decode()
