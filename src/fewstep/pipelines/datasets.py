"""Kedro datasets for what Fewstep keeps on disk: folders that a function of ours reads and writes, and pictures."""

import base64
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.io import AbstractDataset

# Kedro-Viz knows a preview by the name of its type, and kedro_datasets has these types in no public module.
from kedro_datasets._typing import ImagePreview, JSONPreview
from kedro_datasets.pillow import ImageDataset
from PIL import Image

from fewstep.evaluation.features.choice import CHOICE
from fewstep.pictures.saving import write_pictures
from fewstep.support.errors import InvalidInput, reason_of
from fewstep.support.files import copy_folder, move_folder, replaced_file, replaced_folder, write_json, write_text
from fewstep.support.json_text import parse_json

if TYPE_CHECKING:
    from kedro.io import CatalogProtocol

    from fewstep.data.latent_store import LatentStore
    from fewstep.data.store import ArrayStore
    from fewstep.evaluation.features import Extractor
    from fewstep.models.model import Model, SavedModel
    from fewstep.pipelines.workplace import Workplace
    from fewstep.tracking import Backend

# What a Workplace is made of.
WORKPLACE = ("runs", "tracking", "params:env", "params:launch", "params:fresh", "params:tracking")


class PictureDataset(ImageDataset):
    """A picture that `kedro viz` shows, written whole or not at all."""

    def save(self, data: Image.Image) -> None:
        with replaced_file(Path(self._filepath)) as partial:
            data.save(partial, **self._save_args)

    def preview(self) -> ImagePreview:
        """The file, in base64."""
        return ImagePreview(base64.b64encode(Path(self._filepath).read_bytes()).decode())


class FolderDataset(AbstractDataset):
    """A folder or a file. Loading gives its path."""

    def __init__(self, filepath: str, metadata: dict | None = None, optional: bool = False):
        """optional: where it is not there, loading gives None."""
        self._filepath, self._optional = Path(filepath), optional
        self.metadata = metadata

    @property
    def optional(self) -> bool:
        """Whether a run can do without it."""
        return self._optional

    def load(self) -> Any:
        return None if self.optional and not self._exists() else self._read()

    def save(self, data: Any) -> None:
        self._filepath.parent.mkdir(parents=True, exist_ok=True)
        self._write(data)

    def _read(self) -> Any:
        return self._filepath

    def _write(self, data: Any) -> None:
        raise NotImplementedError

    def _exists(self) -> bool:
        return self._filepath.exists()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}


class StoreDataset(FolderDataset):
    """An array store. What was prepared elsewhere is moved here, whole or not at all.

    Loading raises ValueError where the content is not that of the hash which goes with every model and score.
    """

    def _read(self) -> "ArrayStore":
        from fewstep.data.store import ArrayStore

        store = ArrayStore.open(self._filepath)
        store.verify()
        return store

    def _write(self, data: "ArrayStore") -> None:
        from fewstep.data.store import DESCRIPTION

        move_folder(data.folder, self._filepath, DESCRIPTION)


class LatentsDataset(FolderDataset):
    """Latents of the images, where trainings are to be on latents (data.autoencoder); else None.

    What was prepared elsewhere is moved here, whole or not at all. Loading raises ValueError as that of a store does.
    """

    def __init__(self, filepath: str, metadata: dict | None = None, optional: bool = False):
        super().__init__(filepath, metadata, optional)
        self.wanted: Callable[[], bool] = lambda: True

    @property
    def optional(self) -> bool:
        return self._optional or not self.wanted()

    def _exists(self) -> bool:
        return self.wanted() and super()._exists()

    def _read(self) -> "LatentStore":
        from fewstep.data.latent_store import LatentStore

        store = LatentStore.open(self._filepath)
        store.verify()
        return store

    def _write(self, data: "LatentStore") -> None:
        from fewstep.data.latent_store import DESCRIPTION

        if data.folder.resolve() != self._filepath.resolve():
            move_folder(data.folder, self._filepath, DESCRIPTION)


class ModelDataset(FolderDataset):
    """A finished model in its folder; its weights are loaded by whoever needs them.

    The process that does so samples it batch by batch: it keeps the memory that it frees.
    """

    def _read(self) -> "SavedModel":
        from fewstep.models.model import SavedModel
        from fewstep.support.memory import keep_freed_memory

        keep_freed_memory()
        return SavedModel.open(self._filepath)

    def _write(self, data: "Model | SavedModel") -> None:
        data.save(self._filepath)


class ExtractorDataset(FolderDataset):
    """A feature extractor, None for points. What was prepared elsewhere is copied here, whole or not at all."""

    def _exists(self) -> bool:
        return (self._filepath / CHOICE).exists()

    def _read(self) -> "Extractor | None":
        from fewstep.evaluation.features.choice import open_choice

        return open_choice(self._filepath)

    def _write(self, data: Path) -> None:
        copy_folder(data, self._filepath, CHOICE)


class PicturesDataset(FolderDataset):
    """A folder of pictures, {name: picture}, in place of the older ones, whole or not at all."""

    def _read(self) -> dict[str, Image.Image]:
        return {
            file.relative_to(self._filepath).with_suffix("").as_posix(): Image.open(file)
            for file in sorted(self._filepath.rglob("*.png"))
        }

    def _write(self, data: dict[str, Image.Image]) -> None:
        with replaced_folder(self._filepath, None, 0) as partial:
            write_pictures(data, partial)


class PageDataset(FolderDataset):
    """A page of HTML."""

    def _read(self) -> str:
        return self._filepath.read_text()

    def _write(self, data: str) -> None:
        write_text(self._filepath, data)


class JSONFileDataset(FolderDataset):
    """A JSON file, written whole or not at all, that `kedro viz` shows."""

    def preview(self) -> JSONPreview:
        """The file's text."""
        return JSONPreview(self._filepath.read_text())

    def _read(self) -> Any:
        return read_json(self._filepath, lambda facts: facts)

    def _write(self, data: Any) -> None:
        write_json(self._filepath, data)


class TypedJSONDataset(FolderDataset):
    """A JSON file of a class that has to_json and from_json. holds: the class, by its whole name."""

    def __init__(self, holds: str, **kwargs: Any):
        super().__init__(**kwargs)
        module, _, name = holds.rpartition(".")
        self._class = lambda: getattr(import_module(module), name)

    def _read(self) -> Any:
        return read_json(self._filepath, self._class().from_json)

    def _write(self, data: Any) -> None:
        write_json(self._filepath, data.to_json())


def read_json(file: Path, typed: Callable[[Any], Any]) -> Any:
    """What a JSON file says, typed. Raises InvalidInput for a file that was damaged, or says something else."""
    try:
        return typed(parse_json(file.read_text()))
    except (ValueError, LookupError, TypeError, AttributeError) as problem:
        raise InvalidInput(
            f"{file} is damaged ({reason_of(problem)}). Restore it (dvc checkout), or make it again."
        ) from problem


class WorkplaceDataset(AbstractDataset):
    """Where and how work is done: made of other datasets and parameters when it is asked for."""

    def __init__(self, catalog: "CatalogProtocol"):
        self._catalog = catalog

    def load(self) -> "Workplace":
        from fewstep.pipelines.places import place_of
        from fewstep.pipelines.workplace import Workplace

        given = (self._catalog.load(name) for name in WORKPLACE)
        return Workplace(*given, features=place_of(self._catalog, "extractor"))

    def save(self, data: Any) -> None:
        raise NotImplementedError("a workplace is made of parameters")

    def _exists(self) -> bool:
        return True

    def _describe(self) -> dict[str, Any]:
        return {"made of": WORKPLACE}


class TrackingDataset(AbstractDataset):
    """MLflow's place: the tracking URI given here, or in MLFLOW_TRACKING_URI, or mlflow.db in a folder."""

    def __init__(self, filepath: str, uri: str | None = None, metadata: dict | None = None):
        self._filepath, self._uri = Path(filepath), uri
        self.metadata = metadata

    def load(self):
        from fewstep.tracking import Backend

        return Backend.at(self._filepath, self._uri)

    def save(self, data: "Backend") -> None:
        """Nothing to do: MLflow keeps itself."""

    def _exists(self) -> bool:
        return True

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath), "uri": self._uri}
