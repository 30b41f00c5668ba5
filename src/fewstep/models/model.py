"""A trained function with its data space and description: in memory, and in a folder.

The folder has the weights (model.safetensors) and what builds and describes them (model.json).
"""

import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from fewstep.data.class_names import class_number
from fewstep.data.space import DataSpace
from fewstep.diffusion.functions import Randomness
from fewstep.diffusion.guidance import guided
from fewstep.diffusion.levels import SIGMA_MAX, SIGMA_MIN, karras_levels
from fewstep.diffusion.randomness import SampleRandomness
from fewstep.models.description import (
    DESCRIPTION,
    WEIGHTS,
    check_finite,
    check_shapes,
    damaged,
    describe,
    read_description,
    shapes_of,
)
from fewstep.models.samples import Samples
from fewstep.models.spec import Levels, ModelSpec
from fewstep.networks import build_network
from fewstep.networks.execution import PLAIN, Execution
from fewstep.preconditioning import PRECONDITIONERS, Preconditioner, build_preconditioner
from fewstep.samplers import DENOISER_SAMPLERS, count_levels, sample_gamma, sample_multistep
from fewstep.samplers.level_checks import check_levels
from fewstep.support.device import best_device
from fewstep.support.errors import InvalidInput, UserError, shown
from fewstep.support.files import naming_full_disk, replaced_folder, restore_replaced, write_facts
from fewstep.support.names import check_name
from fewstep.support.tensor_files import hash_tensors, write_tensors

SIGMA_DATA = 0.5


def build_function(spec: ModelSpec, space: DataSpace) -> Preconditioner:
    """The preconditioned network of a spec: a function of (x, sigma, labels)."""
    network = build_network(spec.network, space.model_shape, len(space.classes) if spec.labels else 0)
    return build_preconditioner(spec.preconditioning, network, SIGMA_DATA)


Labels = Tensor | np.ndarray | Sequence[int]  # of samples: numbers of their classes, [B]


@dataclass(frozen=True)
class Model:
    """A trained function of (x, sigma, labels), the space of its data, its description, and how its passes run."""

    function: Preconditioner
    space: DataSpace
    spec: ModelSpec
    execution: Execution = PLAIN

    @cached_property
    def sha256(self) -> str:
        """The hash of the weights."""
        return hash_tensors(self.function.state_dict())

    @property
    def weights(self) -> int:
        """The number of weights."""
        return sum(parameter.numel() for parameter in self.function.parameters())

    def at_levels(self, levels: Levels) -> "Model":
        """The same function, sampled at other levels. levels: {NFE: noise levels after the first}."""
        return replace(self, spec=self.spec.at_levels(levels))

    def run_by(self, execution: Execution) -> "Model":
        """The same function, whose passes run so from here on, in whichever model it is."""
        execution.apply(self.function.network)
        return replace(self, execution=execution)

    @property
    def samplers(self) -> tuple[str, ...]:
        """The samplers that this kind of function takes, the usual one first."""
        kind = PRECONDITIONERS[self.spec.preconditioning["name"]].samplers
        return tuple(dict.fromkeys([self.spec.sampler or kind[0], *kind]))

    def levels(self, nfe: int, sampler: str | None = None) -> Tensor:
        """Noise levels at which a sampler calls the function to spend nfe evaluations."""
        sampler = self._sampler(sampler)
        count = count_levels(sampler, nfe)
        chosen = self.spec.levels.get(nfe)
        if chosen and sampler == self.samplers[0]:
            return torch.tensor([SIGMA_MAX, *chosen], dtype=torch.float64)
        if sampler == "multistep":
            return student_levels(nfe, self.spec.least_level or SIGMA_MIN)
        few = sampler == "gamma" or sampler == self.samplers[0] == "euler"  # a student's last step ends at sigma_min
        return karras_levels(count + few)[:count]

    @torch.inference_mode()
    def sample(
        self,
        count: int = 16,
        nfe: int = 1,
        seed: int | Sequence[int] = 0,
        labels: Labels | None = None,
        *,
        indices: Sequence[int] | np.ndarray | None = None,
        sampler: str | None = None,
        levels: Sequence[float] | Tensor | None = None,
        gamma: float = 0.0,
        guidance: float = 1.0,
        clip: bool = False,
    ) -> Samples:
        """Samples of stored values (uint8 [B, C, H, W], or float32 [B, D]).

        count: how many. nfe: network evaluations of each. A sample is a function of the seed (one for all, or each its
        own) and its index, whatever the batch; indices: those of the samples that are wanted, by default range(count).
        labels: [B] class indices; a class-conditional model draws them if they are not given. gamma: of the sampler of
        this name.
        guidance: strength of the labels, 1 as trained: of a student within the range that its recipe had; where a
        denoiser is sampled any, and each of its evaluations is of two batches in one. clip: each estimate of multistep
        sampling is clamped to values that images have, as in OpenAI's code, and not the last alone.
        """
        sampler = self._sampler(sampler)
        levels = self.levels(nfe, sampler) if levels is None else self.check_levels(levels, count_levels(sampler, nfe))
        rng = SampleRandomness(seed, range(count) if indices is None else indices, self.device)
        noise = rng.normal(self.space.model_shape)
        if gamma and sampler != "gamma":
            raise InvalidInput(f"gamma must be 0 with {sampler}, got {gamma:g}: only the sampler gamma uses it.")
        if clip and (sampler != "multistep" or self.space.kind == "points" or self.space.encoding != "pixels"):
            raise InvalidInput("clip must be false: it is for images as pixels and multistep sampling.")
        if sampler in DENOISER_SAMPLERS:
            x = DENOISER_SAMPLERS[sampler](self.denoiser(labels, rng, guidance), noise, levels, rng)
            return self.space.decode(x).view(Samples)
        function, boundary = self.conditioned(labels, rng, guidance), self.function.boundary
        if sampler == "gamma":
            x = sample_gamma(function, noise, levels, rng, gamma, boundary=boundary)
        else:

            def project(estimate: Tensor) -> Tensor:
                return estimate.clamp(-self.space.scale, self.space.scale) if clip else estimate

            x = sample_multistep(function, noise, levels, rng, project=project, boundary=boundary)
        return self.space.decode(x).view(Samples)

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.function.parameters()).device

    def conditioned(self, labels: Labels | None, rng: Randomness, guidance: float = 1.0):
        """The function of (x, sigma) with these labels, [B]; a class-conditional model has them drawn otherwise.

        A trajectory's is one of (x, sigma, sigma_next) too. guidance: a strength that the student was told in training.
        """
        one_hot = self.one_hot(labels, rng)
        if guidance != 1:
            self._check_strength(guidance)
            assert one_hot is not None  # a range of strengths is learnt with labels alone
            one_hot = guidance * one_hot
        return lambda x, sigma, *sigma_next: self.function(x, sigma, one_hot, *sigma_next)

    def denoiser(self, labels: Labels | None, rng: Randomness, guidance: float = 1.0):
        """The denoiser of (x, sigma) with these labels, as conditioned has them, of this strength."""
        if guidance != 1 and not self.spec.knows_no_label:
            raise InvalidInput(
                f"guidance must be 1, got {guidance:g}: {self.spec.name} was not trained with hidden labels."
            )
        one_hot = self.one_hot(labels, rng)
        function = getattr(self.function, "denoiser", self.function)
        return lambda x, sigma: guided(function, x, sigma, one_hot, guidance)

    def _check_strength(self, guidance: float):
        learnt = (self.spec.provenance.objective or {}).get("guidance")
        if not isinstance(learnt, list | tuple):
            raise InvalidInput(
                f"guidance must be 1, got {guidance:g}: {self.spec.name} was not trained with a range of strengths "
                "(objective.guidance: [1, 3], say); samplers of a denoiser, heun for one, take any."
            )
        low, high = learnt
        if not low <= guidance <= high:
            raise InvalidInput(
                f"guidance must be between {low:g} and {high:g} with {self.spec.name}, got {guidance:g}."
            )

    @property
    def least_level(self) -> float:
        """All levels lie above it."""
        if self.spec.least_level:  # which is trained itself
            return math.nextafter(self.spec.least_level, 0)
        return self.function.boundary or math.nextafter(SIGMA_MIN, 0)  # a grid may end at sigma_min

    def check_levels(self, levels: Sequence[float] | Tensor, count: int) -> Tensor:
        """`count` levels that were given, float64. Raises ValueError unless they decrease within what was trained."""
        levels = torch.as_tensor(levels, dtype=torch.float64)
        check_levels(levels, self.least_level, SIGMA_MAX)
        if len(levels) != count:
            raise InvalidInput(f"there must be {count} levels for these evaluations, got {levels.tolist()}.")
        return levels

    def _sampler(self, name: str | None) -> str:
        return check_name("sampler of this model", name or self.samplers[0], self.samplers)

    def one_hot(self, labels: Labels | None, rng: Randomness) -> Tensor | None:
        """The function's input for labels, [B] -> [B, classes] one-hot; mixtures, [B, classes], stay as they are."""
        if not self.spec.labels:
            if labels is not None:
                raise InvalidInput(f"labels must be left out: {self.spec.name} was trained without labels.")
            return None
        classes = len(self.space.classes)
        labels = rng.integers(classes) if labels is None else torch.as_tensor(labels, device=rng.device)
        if labels.ndim == 2:
            return labels
        if labels.min() < 0 or labels.max() >= classes:
            raise InvalidInput(f"labels must be between 0 and {classes - 1}, got {labels.tolist()}.")
        return F.one_hot(labels, classes).float()

    def class_of(self, label: int | str) -> int:
        """The number of a class by its name or number. Raises ValueError as class_number does."""
        if not self.spec.labels:
            why = f"{self.spec.name} was trained without labels"
            raise InvalidInput(f"label must be left out, got {shown(label)}: {why}.")
        return class_number(label, self.space.classes)

    def save(self, folder: Path) -> "SavedModel":
        """Write the folder, replacing an older model."""
        weights = self.function.state_dict()
        saved = SavedModel(folder, self.space, self.spec, self.sha256)
        return _write(saved, sum(t.nbytes for t in weights.values()), lambda file: write_tensors(file, weights))

    @classmethod
    def load(cls, folder: Path | str, device: torch.device | str | None = None) -> "Model":
        """The model in a folder. Raises what SavedModel.open and its load do."""
        return SavedModel.open(folder).load(device)


@dataclass(frozen=True)
class SavedModel:
    """A model in its folder, whose description has been read. sha256: the hash of the weights."""

    folder: Path
    space: DataSpace
    spec: ModelSpec
    sha256: str

    @classmethod
    def open(cls, folder: Path | str) -> "SavedModel":
        """The model in a folder.

        Raises ValueError if files are missing, or the description is not what was saved, or not of a model.
        """
        folder = Path(folder)
        restore_replaced(folder)
        for name in (DESCRIPTION, WEIGHTS):
            if not (folder / name).is_file():
                raise InvalidInput(f"{folder} is not a finished model: {name} is missing.")
        return cls(folder, *read_description(folder))

    def load(self, device: torch.device | str | None = None) -> Model:
        """The model in memory, in eval mode. device: by default the best one there is.

        Raises ValueError if the weights are damaged, not finite, not those that were saved, or not of this network.
        """
        self.space.check()
        check_shapes(self.folder, self._function_on_paper().state_dict())
        try:
            weights = load_file(self.folder / WEIGHTS)
        except (OSError, SafetensorError) as error:
            raise InvalidInput(damaged(self.folder, error)) from None
        if hash_tensors(weights) != self.sha256:
            raise InvalidInput(f"{self.folder}/{WEIGHTS} is not what {DESCRIPTION} describes: its hash differs.")
        check_finite(self.folder, weights)
        function = build_function(self.spec, self.space)
        function.load_state_dict(weights)
        function.to(device or best_device()).eval().requires_grad_(False)
        model = Model(function, self.space, self.spec)
        vars(model)["sha256"] = self.sha256  # of what was just read: it need not be computed again
        return model

    def _function_on_paper(self) -> Preconditioner:
        """The function without memory for its weights. Raises ValueError for a description that builds none."""
        try:
            with torch.device("meta"):
                return build_function(self.spec, self.space)
        except UserError as problem:
            raise InvalidInput(f"{self.folder}/{DESCRIPTION} cannot be used: {problem}") from problem
        except (TypeError, ValueError, LookupError, ArithmeticError, AttributeError, RuntimeError) as problem:
            raise InvalidInput(f"{self.folder}/{DESCRIPTION} describes no network ({problem}).") from problem

    @property
    def weights(self) -> int:
        """The number of weights."""
        return sum(math.prod(shape) for shape in shapes_of(self.folder).values())

    def at_levels(self, levels: Levels) -> "SavedModel":
        """The same weights, sampled at other levels; what is in the folder stays."""
        return replace(self, spec=self.spec.at_levels(levels))

    def save(self, folder: Path) -> "SavedModel":
        """A copy in another folder, with this description, replacing an older model."""
        source, copied = self.folder / WEIGHTS, replace(self, folder=folder)
        return _write(copied, source.stat().st_size, lambda file: shutil.copyfile(source, file))


def _write(saved: SavedModel, size: int, write_weights: Callable[[Path], object]) -> SavedModel:
    """The model in its folder, where it replaces an older one. size: bytes of the weights."""
    with naming_full_disk("the model", saved.folder), replaced_folder(saved.folder, DESCRIPTION, size) as partial:
        write_weights(partial / WEIGHTS)
        saved.space.write_into(partial)
        write_facts(partial / DESCRIPTION, describe(saved.spec, saved.space, saved.sha256))
    return replace(saved, space=saved.space.kept_in(saved.folder))


def student_levels(nfe: int, least: float = SIGMA_MIN) -> Tensor:
    """sigma_max, then Karras levels from 1, or from ten times the least one if that is more, towards the least one."""
    highest = min(max(1.0, 10 * least), math.sqrt(least * SIGMA_MAX) if least > 1 else SIGMA_MAX)
    karras = karras_levels(nfe, least, highest)[:-1]
    return torch.cat([torch.tensor([SIGMA_MAX], dtype=torch.float64), karras])
