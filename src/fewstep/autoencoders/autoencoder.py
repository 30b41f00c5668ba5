"""An autoencoder in its folder, as diffusers has it: a description (config.json), and weights (safetensors).

Nothing in the folder is run, and no pickle is read.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from fewstep.autoencoders.coders import EXTRA, Coder, build_coder
from fewstep.autoencoders.kinds import KINDS, PATCHES, Sizes
from fewstep.support.errors import InvalidInput
from fewstep.support.file_kinds import SAFETENSORS, check_file_kind
from fewstep.support.files import home_path
from fewstep.support.json_text import parse_json
from fewstep.support.names import check_name

CONFIG, WEIGHTS = "config.json", "diffusion_pytorch_model.safetensors"
# Of attention, in folders that older versions of diffusers wrote.
FORMER = {".query.": ".to_q.", ".key.": ".to_k.", ".value.": ".to_v.", ".proj_attn.": ".to_out.0."}


@dataclass(frozen=True)
class Autoencoder:
    """An autoencoder whose description has been read, and whose weights have not. kind: a name in KINDS."""

    folder: Path
    kind: str
    config: Mapping[str, Any]
    sizes: Sizes

    @classmethod
    def open(cls, folder: str | Path) -> "Autoencoder":
        """The autoencoder in a folder. Raises ValueError where there is none that can be read."""
        folder = home_path(folder)
        config = _description(folder)
        try:
            kind = check_name("kind of autoencoder", config.get("_class_name"), KINDS)
            sizes = KINDS[kind].sizes(config)
        except InvalidInput as problem:
            raise InvalidInput(f"{folder / CONFIG} cannot be used: {problem}") from None
        if kind != PATCHES:
            _check_weights(folder)
        return cls(folder, kind, {name: value for name, value in config.items() if not name.startswith("_")}, sizes)

    @cached_property
    def sha256(self) -> str:
        """The hash of its description and of its file of weights."""
        facts = {"kind": self.kind, **self.config}
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
        if self._weights.is_file():
            facts = self._weights.stat()
            digest.update(_digest(self._weights.resolve(), facts.st_size, facts.st_mtime_ns))
        return digest.hexdigest()

    def latent_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Of the latents of images of this shape, [C, h, w]. Raises ValueError for images that it does not take."""
        try:
            return self.sizes.latent_shape(shape)
        except InvalidInput as problem:
            raise InvalidInput(f"{problem}: {self.folder}.") from None

    def check_loadable(self) -> None:
        """Raise ValueError where the package that builds it is not installed."""
        if self.kind != PATCHES and not find_spec("diffusers"):
            raise InvalidInput(EXTRA)

    def load(self, device: torch.device | str = "cpu") -> Coder:
        """Its weights in memory, float32, in eval mode.

        Raises ValueError where they are damaged, not finite, or not of the network that the description says, and where
        diffusers, which builds it, is not installed.
        """
        try:
            if self.kind != PATCHES:
                with torch.device("meta"):
                    self._check_shapes(build_coder(self.kind, self.config))
            coder = build_coder(self.kind, self.config)
        except InvalidInput as problem:
            raise InvalidInput(f"{self.folder} cannot be used: {problem}") from None
        if self.kind != PATCHES:
            coder.load_state_dict(self._tensors())
        return coder.to(device).eval().requires_grad_(False)

    def copy_to(self, folder: Path) -> "Autoencoder":
        """A copy in another folder, which is made for it: the description and the weights, and nothing else."""
        folder.mkdir(parents=True)
        for file in filter(Path.is_file, (self.folder / CONFIG, self._weights)):
            shutil.copyfile(file, folder / file.name)
        return Autoencoder.open(folder)

    @property
    def bytes(self) -> int:
        """What its weights take on the disk."""
        return self._weights.stat().st_size if self._weights.is_file() else 0

    @property
    def _weights(self) -> Path:
        return self.folder / WEIGHTS

    def _check_shapes(self, coder: Coder) -> None:
        """Raise ValueError unless the weights are of this network. Their values are not read."""
        with safe_open(self._weights, "pt") as file:
            found = {_named(name): file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
        wanted = {name: list(tensor.shape) for name, tensor in coder.state_dict().items()}
        if unlike := sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name)):
            name = unlike[0]
            raise InvalidInput(
                f"{WEIGHTS} is not of the {self.kind} that {CONFIG} describes: {name.removeprefix('network.')} must be "
                f"{wanted.get(name, 'left out')}, and is {found.get(name, 'missing')} ({len(unlike)} tensors differ)"
            )

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {_named(name): tensor.float() for name, tensor in load_file(self._weights).items()}
        for name, tensor in tensors.items():
            if not torch.isfinite(tensor).all():
                raise InvalidInput(f"{self._weights} cannot be used: {name} has values that are not finite.")
        return tensors


@lru_cache
def _digest(file: Path, size: int, time: int) -> bytes:
    """sha256 of a file that looks like this."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").digest()


def _named(name: str) -> str:
    """The name of a tensor in a coder."""
    for former, now in FORMER.items() if ".attentions." in name else ():
        name = name.replace(former, now)
    return f"network.{name}"


def _description(folder: Path) -> dict[str, Any]:
    if not (folder / CONFIG).is_file():
        vae = " Its autoencoder is in the folder vae." if (folder / "vae" / CONFIG).is_file() else ""
        raise InvalidInput(f"there is no autoencoder in {folder}: {CONFIG} is missing.{vae}")
    try:
        config = parse_json((folder / CONFIG).read_text())
    except (OSError, ValueError) as problem:
        raise InvalidInput(f"{folder / CONFIG} cannot be read: {problem}") from None
    if not isinstance(config, dict):
        raise InvalidInput(f"{folder / CONFIG} describes no autoencoder: it does not hold a JSON object.")
    return config


def _check_weights(folder: Path) -> None:
    """Raise ValueError where there is no readable file of weights."""
    file = folder / WEIGHTS
    if not file.is_file():
        others = sorted(each.name for each in folder.iterdir() if each.suffix in (".bin", ".pt", ".ckpt", ".pth"))
        pickled = f" {others[0]} is a pickle, which is not read: save the model again as safetensors." * bool(others)
        raise InvalidInput(f"the autoencoder in {folder} has no weights: {WEIGHTS} is missing.{pickled}")
    try:
        check_file_kind(file, "weights", SAFETENSORS)
        with safe_open(file, "pt"):
            pass
    except (OSError, SafetensorError) as problem:
        raise InvalidInput(f"{file} is damaged: {problem}") from None
