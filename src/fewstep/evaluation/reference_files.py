"""Reference statistics as other programs keep them, read without unpickling code.

EDM's fid.py, pytorch-fid and clean-fid keep `mu` and `sigma` in an .npz, OpenAI's evaluator images (`arr_0`) or
statistics (also `mu_s` and `sigma_s`, of spatial features), and torch-fidelity's cache a .pt of mu and sigma.
"""

import json
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fewstep.data.file_tree import DAMAGED
from fewstep.data.space import DataSpace
from fewstep.evaluation.features.extractor import Extractor, Features, file_sha256
from fewstep.evaluation.frechet import FeatureStatistics
from fewstep.support.errors import InvalidInput, reason_of
from fewstep.support.file_kinds import ZIP, check_file_kind
from fewstep.support.files import home_path, replaced_file
from fewstep.support.json_text import parse_json

ABOUT = "fewstep"  # the array of our own files that says what they are of
LAYOUTS = "mu and sigma (EDM, clean-fid, torch-fidelity), or arr_0, mu, sigma, mu_s, sigma_s (OpenAI's evaluator)"
UNREADABLE = (*DAMAGED, KeyError, MemoryError, pickle.UnpicklingError)
# The network that each program's published statistics are of; those of torch-fidelity can be of any.
NETWORKS = {"edm": "inception", "adm": "inception", "clean": "inception-clean"}


@dataclass(frozen=True)
class ReferenceFile:
    """What a file holds. evaluator: edm, adm, fidelity or clean, whose program reads it.

    statistics, spatial: of features. batch: the shape of images in it, [N, H, W, C]. about: what our own files say of
    themselves: dataset, shape, extractor, extractor_sha256, split and count.
    """

    path: Path
    sha256: str
    evaluator: str
    statistics: FeatureStatistics | None = None
    spatial: FeatureStatistics | None = None
    batch: tuple[int, ...] | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    def images(self, channels: int) -> np.ndarray:
        """The images that are in it, uint8 [N, channels, H, W]. Raises InvalidInput for colours in gray data."""
        try:
            stored = self._stored_images()
        except UNREADABLE as problem:
            raise InvalidInput(f"evaluation.reference: {self.path} is damaged ({reason_of(problem)}).") from None
        found = np.ascontiguousarray(stored.transpose(0, 3, 1, 2))
        if (found[:, channels:] != found[:, :1]).any():
            raise InvalidInput(f"evaluation.reference: {self.path} has images in colour, and the data are gray.")
        return found[:, :channels]

    def _stored_images(self) -> np.ndarray:
        with np.load(self.path, allow_pickle=False) as archive:
            return archive["arr_0"]

    def check_features(self, features: str) -> None:
        """Raise InvalidInput if its statistics are of another network than that of this name."""
        wanted = NETWORKS.get(self.evaluator)
        if not self.about and self.batch is None and wanted and features != wanted:
            raise InvalidInput(
                f"evaluation.reference: {self.path} has statistics of {wanted} features, and evaluation.features is "
                f"{features}: set evaluation.features={wanted}, or make statistics of these features with "
                "fewstep statistics."
            )

    def check_space(self, space: DataSpace) -> None:
        """Raise InvalidInput if it is of images of another size, or of another data set."""
        if space.kind != "images":
            raise InvalidInput(f"evaluation.reference is for images, and {space.name} has {space.kind}: leave it out.")
        shape = tuple(self.about.get("shape", space.shape))
        if self.batch:
            _, height, width, channels = self.batch
            shape = (min(channels, space.shape[0]), height, width)  # OpenAI's evaluator wants gray in three channels
        if shape != space.shape:
            raise InvalidInput(
                f"evaluation.reference: {self.path} is of images of {shape}, and {space.name} are {space.shape}."
            )
        if (name := self.about.get("dataset", space.name)) != space.name:
            raise InvalidInput(f"evaluation.reference: {self.path} is of the data set {name}, not of {space.name}.")

    def check(self, extractor: Extractor, space: DataSpace) -> None:
        """Raise InvalidInput if its statistics do not fit the data or the features."""
        self.check_space(space)
        if self.about and (found := self.about["extractor_sha256"]) != extractor.sha256:
            raise InvalidInput(
                f"evaluation.reference: {self.path} has statistics of the features {self.about['extractor']} "
                f"({found[:8]}), and these are {extractor.name} ({extractor.sha256[:8]})."
            )
        self.check_features(extractor.name)


def read_reference(path: str | Path) -> ReferenceFile:
    """A file of reference statistics. Raises InvalidInput for one that is not there, damaged, or holds other things."""
    path = home_path(path)
    if not path.is_file():
        raise InvalidInput(f"evaluation.reference must be files of statistics, and there is no {path}.")
    if path.suffix not in (".npz", ".pt"):
        raise InvalidInput(f"evaluation.reference must be .npz files, or .pt of torch-fidelity's cache, got {path}.")
    check_file_kind(path, "statistics", ZIP)
    try:
        found = _arrays_of_cache(path) if path.suffix == ".pt" else _arrays(path)
    except UNREADABLE as problem:
        raise InvalidInput(
            f"evaluation.reference: {path} is damaged, or holds what only unpickling would read ({problem})."
        ) from None
    return _reference(path, found)


def read_references(paths: list[str] | tuple[str, ...]) -> tuple[ReferenceFile, ...]:
    """Several, each for another evaluator."""
    found = tuple(map(read_reference, paths))
    for evaluator in {each.evaluator for each in found}:
        same = [str(each.path) for each in found if each.evaluator == evaluator]
        if len(same) > 1:
            raise InvalidInput(
                f"evaluation.reference must have one file for each evaluator, got {' and '.join(same)}, which are both "
                f"for fid_{evaluator}."
            )
    return found


def write_statistics(file: Path, features: Features, about: Mapping[str, Any]) -> None:
    """Write statistics in EDM's layout, with an array of text that says what they are of."""
    made = FeatureStatistics.of(features.features)
    text = np.array(json.dumps(dict(about)))
    with replaced_file(file) as partial, partial.open("wb") as stream:
        np.savez(stream, allow_pickle=False, mu=made.mean, sigma=made.covariance, **{ABOUT: text})


def _arrays(path: Path) -> dict[str, Any]:
    """Statistics; of images their shape and type alone; None of other arrays."""
    known = {"mu", "sigma", "mu_s", "sigma_s", ABOUT}
    with np.load(path, allow_pickle=False) as archive:
        found = {name: archive[name] if name in known else None for name in archive.files if name != "arr_0"}
        images = "arr_0" in archive.files
    return found | ({"arr_0": _header(path, "arr_0.npy")} if images else {})


def _header(path: Path, member: str) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type of an array in an .npz."""
    with zipfile.ZipFile(path) as archive, archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
    return shape, dtype


def _arrays_of_cache(path: Path) -> dict[str, Any]:
    """torch-fidelity pickles NumPy's arrays: these alone are let through."""
    empty = np.empty(0).__reduce__()[0]  # makes an array, before its content is filled in
    known: list[Any] = [np.ndarray, np.dtype, *{type(np.dtype(kind)) for kind in (np.float32, np.float64)}]
    known += [(empty, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")]
    with torch.serialization.safe_globals(known):
        found = torch.load(path, weights_only=True, map_location="cpu")
    return found if isinstance(found, dict) else {}


def _reference(path: Path, found: dict[str, Any]) -> ReferenceFile:
    of_openai = path.suffix == ".npz" and not {"arr_0", "mu_s"}.isdisjoint(found)
    if not (found.keys() >= {"mu", "sigma"} or "arr_0" in found):
        raise InvalidInput(
            f"evaluation.reference: {path} must hold {LAYOUTS}, and it holds {', '.join(sorted(found)) or 'others'}."
        )
    return ReferenceFile(
        path,
        file_sha256(path),
        _evaluator(path, of_openai),
        _statistics(path, found, "mu", "sigma"),
        _statistics(path, found, "mu_s", "sigma_s"),
        _batch(path, *found["arr_0"]) if "arr_0" in found else None,
        _about(path, found[ABOUT]) if ABOUT in found else {},
    )


def _about(path: Path, text: Any) -> dict[str, Any]:
    try:
        about = parse_json(str(text))
        return {name: about[name] for name in ("dataset", "shape", "extractor", "extractor_sha256")} | about
    except (ValueError, LookupError, TypeError):
        raise InvalidInput(f"evaluation.reference: {path} does not say what its statistics are of.") from None


def _evaluator(path: Path, of_openai: bool) -> str:
    """clean-fid's files look like EDM's inside, and say in their names how images were resized."""
    if of_openai or path.suffix == ".pt":
        return "adm" if of_openai else "fidelity"
    if "_legacy_pytorch_" in path.name:
        raise InvalidInput(f"evaluation.reference: {path} was made with images resized as no evaluator here does it.")
    return "clean" if "_clean_" in path.name else "edm"


def _statistics(path: Path, found: Mapping[str, Any], mean: str, covariance: str) -> FeatureStatistics | None:
    if mean not in found or covariance not in found:
        return None
    mu, sigma = (np.asarray(found[name], np.float64) for name in (mean, covariance))
    if mu.ndim != 1 or sigma.shape != (len(mu), len(mu)):
        raise InvalidInput(
            f"evaluation.reference: {mean} and {covariance} of {path} must be [D] and [D, D], got {list(mu.shape)} and "
            f"{list(sigma.shape)}."
        )
    if not (np.isfinite(mu).all() and np.isfinite(sigma).all() and np.allclose(sigma, sigma.T)):
        raise InvalidInput(
            f"evaluation.reference: {covariance} of {path} must be finite and symmetric, as a covariance is."
        )
    return FeatureStatistics(mu, sigma)


def _batch(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> tuple[int, ...]:
    if dtype != np.uint8 or len(shape) != 4 or shape[3] not in (1, 3):
        raise InvalidInput(
            f"evaluation.reference: arr_0 of {path} must be uint8 [N, H, W, 3], got {dtype} {list(shape)}."
        )
    return shape
