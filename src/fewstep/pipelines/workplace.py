"""Where and how work is done, which does not change what it makes."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from PIL import Image

from fewstep.launch import LaunchSettings
from fewstep.models.model import SavedModel
from fewstep.support.files import replaced_file
from fewstep.tracking import Backend, Run, TrackingSettings, open_run, run_tags, run_title


@dataclass(frozen=True)
class Workplace:
    """runs: the folder of unfinished work. backend: MLflow's. env: Kedro's. fresh: train again what was trained.
    features: the folder of the features that trainings are scored by.
    """

    runs: Path
    backend: Backend
    env: str
    launch: LaunchSettings
    fresh: bool
    tracking: TrackingSettings = field(default_factory=TrackingSettings)
    features: Path | None = None

    def below(self, name: str) -> "Workplace":
        """The same with a folder of its own for unfinished work."""
        return replace(self.unnamed(), runs=self.runs / name)

    def unnamed(self) -> "Workplace":
        """The same for other trainings than the student's, which alone is called and placed as the parameters say."""
        return replace(self, tracking=replace(self.tracking, run_name=None, parent_run=None))

    def run_folder(self, model: SavedModel) -> Path:
        """The folder of the training that made a model, or of its import; it may have been removed."""
        return self.runs / (model.spec.provenance.run or f"{model.spec.name}-{model.sha256[:12]}")

    def open_run(self, folder: Path, experiment: str, name: str, params: Mapping, tags: Mapping[str, str]) -> Run:
        """The MLflow run of a training in this folder. A student's is named and placed as the parameters say."""
        given, parent = (None, None) if name == "teacher" else (self.tracking.run_name, self.tracking.parent_run)
        return open_run(
            folder,
            experiment,
            given or run_title(name, params),
            self.backend,
            params,
            tags,
            parent,
            self.tracking.mirrors,
        )

    def run_of(self, model: SavedModel, experiment: str | None = None) -> Run:
        """The MLflow run that trained a model; a new one where the model came without it (dvc pull).

        experiment: of a new one, by default the data set's name.
        """
        spec = model.spec
        tags = run_tags(spec.name, spec.data_sha256 or "unknown", self.env)
        params = spec.provenance.to_json()
        return self.open_run(self.run_folder(model), experiment or model.space.name, spec.name, params, tags)

    def attach(self, model: SavedModel, **pictures: Image.Image) -> None:
        """Keep pictures with the run of a model, by these names. What MLflow cannot be sent now waits in its folder."""
        run, outbox = self.run_of(model), self.run_folder(model) / "outbox"
        for name, picture in pictures.items():
            with replaced_file(outbox / f"{name}.png") as partial:
                picture.save(partial)
            run.attach(outbox / f"{name}.png")
