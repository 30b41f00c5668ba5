"""Kedro datasets for what Fewstep keeps on disk: folders that a function of ours reads and writes, and pictures."""

import base64
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.io import AbstractDataset
from kedro_datasets._typing import ImagePreview
from kedro_datasets.pillow import ImageDataset

from fewstep.evaluation.extractor_choice import CHOICE

if TYPE_CHECKING:
    from fewstep.tracking import Store


class PictureDataset(ImageDataset):
    """A picture that `kedro viz` shows."""

    def preview(self) -> ImagePreview:
        """The file, in base64."""
        return ImagePreview(base64.b64encode(Path(self._filepath).read_bytes()).decode())


class FolderDataset(AbstractDataset):
    """A folder. Loading gives its path; saving calls a function with it, which fills it."""

    def __init__(self, filepath: str, metadata: dict | None = None):
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> Any:
        return self._filepath

    def save(self, data: Callable[[Path], Any]) -> None:
        self._filepath.parent.mkdir(parents=True, exist_ok=True)
        data(self._filepath)

    def _exists(self) -> bool:
        return self._filepath.exists()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}


class StoreDataset(FolderDataset):
    """An array store; saved by a function that writes it."""

    def load(self):
        from fewstep.data.store import ArrayStore

        return ArrayStore.open(self._filepath)


class ModelDataset(FolderDataset):
    """A finished model, to be sampled batch by batch: the process keeps the memory that it frees."""

    def load(self):
        from fewstep.models.model import Model
        from fewstep.support.memory import keep_freed_memory

        keep_freed_memory()
        return Model.load(self._filepath)

    def save(self, data) -> None:
        self._filepath.parent.mkdir(parents=True, exist_ok=True)
        data.save(self._filepath)


class ExtractorDataset(FolderDataset):
    """A feature extractor, None for points; saved by a function that chooses it, its choice last."""

    def _exists(self) -> bool:
        return (self._filepath / CHOICE).exists()

    def load(self):
        from fewstep.evaluation.extractor_choice import open_choice

        return open_choice(self._filepath)


class TrackingDataset(AbstractDataset):
    """MLflow's place: the tracking URI given here, or in MLFLOW_TRACKING_URI, or mlflow.db in a folder."""

    def __init__(self, filepath: str, uri: str | None = None, metadata: dict | None = None):
        self._filepath, self._uri = Path(filepath), uri
        self.metadata = metadata

    def load(self):
        from fewstep.tracking import Store

        return Store.at(self._filepath, self._uri)

    def save(self, data: "Store") -> None:
        """Nothing to do: MLflow keeps itself."""

    def _exists(self) -> bool:
        return True

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath), "uri": self._uri}
