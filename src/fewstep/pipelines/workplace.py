"""Where and how work is done, which does not change what it makes."""

from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from fewstep.launch import LaunchSettings
from fewstep.models.model import SavedModel
from fewstep.support.files import replaced_file
from fewstep.tracking import Backend, Run, open_run, run_tags


@dataclass(frozen=True)
class Workplace:
    """runs: the folder of unfinished work. backend: MLflow's. env: Kedro's. fresh: train again what was trained."""

    runs: Path
    backend: Backend
    env: str
    launch: LaunchSettings
    fresh: bool

    def below(self, name: str) -> "Workplace":
        """The same with a folder of its own for unfinished work."""
        return replace(self, runs=self.runs / name)

    def run_folder(self, model: SavedModel) -> Path:
        """The folder of the training that made a model, or of its import; it may have been removed."""
        return self.runs / (model.spec.provenance.run or f"{model.spec.name}-{model.sha256[:12]}")

    def run_of(self, model: SavedModel, experiment: str | None = None) -> Run:
        """The MLflow run that trained a model; a new one where the model came without it (dvc pull).

        experiment: of a new one, by default the data set's name.
        """
        spec = model.spec
        tags = run_tags(spec.name, spec.data_sha256 or "unknown", self.env)
        params = spec.provenance.to_json()
        return open_run(self.run_folder(model), experiment or model.space.name, spec.name, self.backend, params, tags)

    def attach(self, model: SavedModel, **pictures: Image.Image) -> None:
        """Keep pictures with the run of a model, by these names. What MLflow cannot be sent now waits in its folder."""
        run, outbox = self.run_of(model), self.run_folder(model) / "outbox"
        for name, picture in pictures.items():
            with replaced_file(outbox / f"{name}.png") as partial:
                picture.save(partial)
            run.attach(outbox / f"{name}.png")
