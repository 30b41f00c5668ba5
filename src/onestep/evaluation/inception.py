"""Inception v3 as FID means it, by torch-fidelity, with weights from a file."""

import pickle
from pathlib import Path

import torch
from torch import Tensor

from onestep.evaluation.features import Extractor, file_sha256
from onestep.evaluation.fidelity import import_fidelity

FEATURES, LOGITS = "2048", "logits_unbiased"


def open_inception(weights: str | Path | None = None, device: str = "cpu") -> Extractor:
    """The extractor "inception". Gray images are repeated to three channels.

    weights: torch-fidelity's file; without it, torch.hub's cache, then a download. Raises ValueError where there is
    none, or where the file holds anything but tensors.
    """
    import_fidelity()
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3, FeatureExtractorInceptionV3

    file = Path(weights) if weights else _download(URL_INCEPTION_V3)
    try:
        torch.load(file, weights_only=True, map_location="meta")  # torch-fidelity unpickles: first make sure of tensors
        network = FeatureExtractorInceptionV3("inception", [FEATURES, LOGITS], feature_extractor_weights_path=str(file))
    except FileNotFoundError:
        raise ValueError(_advice(file, URL_INCEPTION_V3)) from None
    except (pickle.UnpicklingError, RuntimeError, EOFError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{file} does not hold Inception weights ({error}). {_advice(file, URL_INCEPTION_V3)}"
        ) from error
    network.to(device)

    def features_and_logits(images: Tensor) -> tuple[Tensor, Tensor]:
        return network(images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images)

    return Extractor("inception", file_sha256(file), features_and_logits, device=device)


def _download(url: str) -> Path:
    file = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(file), hash_prefix=file.stem.rsplit("-", 1)[-1], progress=False)
        except (OSError, RuntimeError) as error:
            raise ValueError(f"The Inception weights cannot be downloaded ({error}). {_advice(file, url)}") from error
    return file


def _advice(file: Path, url: str) -> str:
    return (
        f"Inception features need the file {url.rsplit('/', 1)[-1]}, from {url}: put it at {file}, or name another "
        "place by the parameter features_weights. Without it, choose the data set's own classifier as features."
    )
