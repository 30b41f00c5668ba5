"""Networks that the field judges by, as torch-fidelity has them: Inception v3, CLIP and DINOv2."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from fewstep.evaluation.features.extractor import Extractor, file_sha256
from fewstep.evaluation.features.fidelity import import_fidelity
from fewstep.evaluation.features.inception import with_clean_resizing, with_spatial
from fewstep.support.colour import bytes_to_rgb
from fewstep.support.errors import InvalidInput
from fewstep.support.file_kinds import ZIP, check_file_kind
from fewstep.support.tensor_files import hash_tensors

CLIPS = "rn50", "rn101", "rn50x4", "rn50x16", "rn50x64", "vit-b-32", "vit-b-16", "vit-l-14", "vit-l-14-336px"


def open_pretrained(name: str, weights: str | Path | None = None, device: str = "cpu") -> Extractor:
    """The extractor of a name in PRETRAINED. Gray images are repeated to three channels, transparent ones are on white.

    weights: torch-fidelity's file; without it, torch.hub's cache, then a download. DINOv2 takes none: torch.hub runs
    Meta's code (facebookresearch/dinov2) from its folder, downloaded if need be, which unpickles the weights. Raises
    ValueError where weights are missing or are not of this network.
    """
    chosen = PRETRAINED[name]
    file = chosen.find(weights)
    from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY

    try:
        if file and chosen.check:
            chosen.check(chosen.entry, file)
        load = FEATURE_EXTRACTORS_REGISTRY[chosen.entry]
        network = load(chosen.entry, list(chosen.layers), feature_extractor_weights_path=file and str(file))
    except Exception as error:  # a damaged file can raise anything, and so can Meta's code
        problem = f"{file} does not hold {chosen.kind} weights" if file else f"{chosen.kind} cannot be loaded"
        raise InvalidInput(f"{problem} ({error}). {chosen.advice(file)}") from error
    sha256 = file_sha256(file) if file else hash_tensors(network.state_dict())
    outputs = chosen.outputs(network.to(device))

    def features(images: Tensor) -> tuple[Tensor, ...]:
        return outputs(bytes_to_rgb(images))

    return Extractor(name, sha256, features, has_classes=len(chosen.layers) == 2, device=device)


@dataclass(frozen=True)
class Pretrained:
    """Where torch-fidelity has a network, and where its weights are.

    entry: its name in torch-fidelity's register. layers: of features and, if it has classes, of logits. needs: entry ->
    {place in torch.hub's folder: where it is from}. check: (entry, file) raises where torch-fidelity had better not
    read the file; None: it takes no file. outputs: the network -> a function of uint8 [B, 3, H, W], as in Extractor.
    """

    kind: str
    entry: str
    layers: tuple[str, ...]
    needs: Callable[[str], dict[str, str]]
    check: Callable[[str, Path], None] | None
    outputs: Callable[[nn.Module], Callable[[Tensor], tuple[Tensor, ...]]] = lambda network: network

    def find(self, weights: str | Path | None) -> Path | None:
        """The file of weights, downloaded if need be; None where torch.hub finds them."""
        import_fidelity()
        if not self.check:
            if weights:
                raise InvalidInput(
                    f"features_weights must be null for {self.kind}, which torch.hub finds, got {weights}."
                )
            return None
        file = Path(weights) if weights else self._download()
        if not file.is_file():
            raise InvalidInput(self.advice(file))
        check_file_kind(file, f"{self.kind} weights", ZIP)
        return file

    def advice(self, file: Path | None = None) -> str:
        """What is needed and where to put it. file: in place of torch.hub's folder."""
        parts = [
            f"the {'file' if '.' in place else 'folder'} {url.rsplit('/', 1)[-1]}, from {url}: put it at "
            f"{file or _hub(place)}"
            for place, url in self.needs(self.entry).items()
        ]
        elsewhere = ", or name another place by the parameter features_weights" if self.check else ""
        return (
            f"{self.kind} features need {'; '.join(parts)}{elsewhere}. Without it, choose the data set's own "
            "classifier as features."
        )

    def _download(self) -> Path:
        [(place, url)] = self.needs(self.entry).items()
        file = _hub(place)
        if not file.is_file():
            file.parent.mkdir(parents=True, exist_ok=True)
            try:
                torch.hub.download_url_to_file(url, str(file), hash_prefix=file.stem.rsplit("-", 1)[-1], progress=False)
            except (OSError, RuntimeError) as error:
                problem = f"The {self.kind} weights cannot be downloaded ({error})"
                raise InvalidInput(f"{problem}. {self.advice(file)}") from error
        return file


def _inception(entry: str) -> dict[str, str]:
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

    return {f"checkpoints/{URL_INCEPTION_V3.rsplit('/', 1)[-1]}": URL_INCEPTION_V3}


def _clip(entry: str) -> dict[str, str]:
    from torch_fidelity.feature_extractor_clip import MODEL_METADATA, MODEL_URLS

    return {f"checkpoints/{entry}-{MODEL_METADATA[entry]['hash']}.pt": MODEL_URLS[entry]}


def _dinov2(entry: str) -> dict[str, str]:
    from torch_fidelity.feature_extractor_dinov2 import MODEL_METADATA

    name = MODEL_METADATA[entry]
    return {
        "facebookresearch_dinov2_main": "https://github.com/facebookresearch/dinov2",
        f"checkpoints/{name}_pretrain.pth": f"https://dl.fbaipublicfiles.com/dinov2/{name}/{name}_pretrain.pth",
    }


def _only_tensors(entry: str, file: Path) -> None:
    """torch-fidelity unpickles Inception's file."""
    torch.load(file, weights_only=True, map_location="meta")


def _published(entry: str, file: Path) -> None:
    """torch-fidelity takes tensors alone of CLIP's file, but by torch.jit.load, which is for files that one trusts."""
    from torch_fidelity.feature_extractor_clip import MODEL_METADATA

    found, known = file_sha256(file), MODEL_METADATA[entry]["hash"]
    if found != known:
        raise InvalidInput(f"the sha256 of {entry} must be {known}, got {found}")


def _hub(place: str) -> Path:
    return Path(torch.hub.get_dir()) / place


_INCEPTION = Pretrained(
    "Inception", "inception-v3-compat", ("2048", "logits_unbiased"), _inception, _only_tensors, with_spatial
)
PRETRAINED = {
    "inception": _INCEPTION,
    "inception-clean": replace(_INCEPTION, outputs=with_clean_resizing),
    **{name: Pretrained("CLIP", name, ("clip",), _clip, _published) for name in map("clip-{}".format, CLIPS)},
    **{name: Pretrained("DINOv2", name, ("dinov2",), _dinov2, None) for name in map("dinov2-vit-{}-14".format, "sblg")},
}
