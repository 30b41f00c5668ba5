"""The registered generator: MLflow runs this file when it loads a version (pyfunc, models from code)."""

import base64
import io
import logging
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import mlflow
import numpy as np
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel
from mlflow.store.artifact.models_artifact_repo import REGISTERED_MODEL_META_FILE_NAME
from mlflow.utils.yaml_utils import read_yaml

from fewstep.editing.image_files import as_picture
from fewstep.models.model import SavedModel
from fewstep.registry.package import SEAL, seal_of
from fewstep.registry.versions import check_files, get_version, load_newer
from fewstep.serving.batching import Batches, Order
from fewstep.serving.edit_requests import edit_levels, edited
from fewstep.serving.request import BadRequest, NotReloaded, Request, check_requests
from fewstep.support.errors import InvalidInput, UserError
from fewstep.tracking.backend import Store

FOLLOW, EVERY = "FEWSTEP_FOLLOW", 10  # the alias that a server follows; seconds from one look to the next
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Served:
    """A version while it is served. name, number: None for one that came from no registry."""

    batches: Batches
    name: str | None
    number: int | None


class Generator(PythonModel):
    def load_context(self, context) -> None:
        saved = SavedModel.open(context.artifacts["model"])
        known = context.model_config
        if (saved.sha256, seal_of(saved.folder)) != (known["model_sha256"], known[SEAL]):
            raise MlflowException("the files are not the registered ones: this version is not served")
        name, number = _version(Path(context.artifacts["model"]).parents[1])
        if name:
            _check_registered(saved, name, number)
        self.served = Served(Batches(saved.load()), name, number)
        self.reloading, self.looked = threading.Lock(), time.monotonic()

    def predict(self, context, model_input: list[Request], params=None):
        """A dictionary per request: images (base64 PNGs) or points, and what made them."""
        if any(request.reload is True for request in model_input):
            self._reload()
        elif os.environ.get(FOLLOW) and time.monotonic() > self.looked + EVERY:
            self.looked = time.monotonic()
            threading.Thread(target=self._follow, daemon=True).start()  # no caller waits for a registry
        served = self.served
        check_requests(model_input, served.batches.model)
        edits = {n: served.batches.alone(edited, served.batches.model, r) for n, r in enumerate(model_input) if r.edit}
        drawn = [r for r in model_input if not r.edit]
        made = iter(served.batches([Order(r.num_images, r.steps, r.seed, r.label) for r in drawn]))
        return [_answer(served, r, edits[n] if n in edits else next(made)) for n, r in enumerate(model_input)]

    def _follow(self) -> None:
        """Reload without being asked: what fails is for the log."""
        try:
            self._reload()
        except MlflowException as problem:
            log.warning("%s", problem.message)

    def _reload(self) -> None:
        """Serve the version that holds the followed alias now; what cannot be had leaves the one that is served."""
        now, alias = self.served, os.environ.get(FOLLOW)
        if now.name is None:
            raise BadRequest("reload: this model was not loaded from a registry, so it has no newer version")
        if not alias:
            how = f"start it as {FOLLOW}=champion mlflow models serve ..."
            raise BadRequest(f"reload: this server follows no alias and keeps version {now.number}: {how}")
        with self.reloading:
            try:
                store = Store.at(Path.cwd(), mlflow.get_tracking_uri())
                newer = load_newer(store, now.name, alias, self.served.number)
            except UserError as problem:
                raise NotReloaded(f"not reloaded, version {now.number} is still served: {problem}") from None
            if newer:
                number, model = newer
                self.served = Served(Batches(model), now.name, number)
                log.warning("%s: version %s is served now, as %s", now.name, number, alias)


def _answer(served: Served, request: Request, samples: np.ndarray) -> dict:
    model = served.batches.model
    shown = {"points": samples.tolist()} if model.space.kind == "points" else {"images": [_png(i) for i in samples]}
    asked = {"steps": request.steps, "seed": request.seed, "label": request.label}
    levels = edit_levels(model, request) if request.edit else model.levels(request.steps)
    made_by = {"model_sha256": model.sha256, "model": served.name, "version": served.number}
    return {**shown, **asked, "levels": levels.tolist(), **made_by}


def _check_registered(model: SavedModel, name: str, number: int) -> None:
    """The registry knows the weights of a version too, however much of its folder was replaced."""
    try:
        store = Store.at(Path.cwd(), mlflow.get_tracking_uri())
        store.check_there()
        version = get_version(store.client(), name, number)
    except UserError as problem:
        log.warning("the weights of %s version %s are not compared with the registry's: %s", name, number, problem)
        return
    try:
        check_files(version, model)
    except InvalidInput as problem:
        raise MlflowException(f"{problem}: it is not served") from None


def _version(folder: Path) -> tuple[str | None, int | None]:
    """The registered name and version of what was loaded by them; MLflow writes them beside it."""
    if not (folder / REGISTERED_MODEL_META_FILE_NAME).exists():
        return None, None
    facts = read_yaml(str(folder), REGISTERED_MODEL_META_FILE_NAME)
    return facts["model_name"], int(facts["model_version"])


def _png(image: np.ndarray) -> str:
    """[C, H, W] uint8 -> base64 of a PNG."""
    file = io.BytesIO()
    as_picture(image).save(file, "png")
    return base64.b64encode(file.getvalue()).decode()


set_model(Generator())
