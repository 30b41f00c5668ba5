"""A finished model for programs that are not ours: its folder, a program of torch.export, ONNX, or diffusers."""

import copy
import json
import shutil
from dataclasses import replace
from importlib.util import find_spec
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from fewstep.diffusion.functions import ConsistencyFunction, Denoiser, Jump
from fewstep.diffusion.solvers import euler_step, heun_step
from fewstep.exchange.hugging_face import write_diffusers
from fewstep.models.model import Model
from fewstep.support.errors import InvalidInput
from fewstep.support.files import replaced_file, replaced_with_company
from fewstep.support.names import check_name

ONNX_NEEDS = ("onnx", "onnxscript")
ONNX_HOLDS = 2**31 - 2**24  # bytes of weights: a protobuf message has at most 2 GiB
OPSET, OPSETS = 18, range(18, 24)  # that torch.onnx translates to


class Program(nn.Module):
    """From noise to images in [-1, 1] (or points), at the levels of so many evaluations.

    noise: [draws, B, ...] unit Gaussian, a draw for each level of the multistep sampler, one for any other. labels:
    [B, classes] one-hot, of a class-conditional model.
    """

    def __init__(self, model: Model, nfe: int):
        super().__init__()
        self.function, self.decoder = model.function, model.space.decoder()
        self.sampler = check_name("program of the sampler", model.samplers[0], ("multistep", "gamma", "heun", "euler"))
        self.levels = model.levels(nfe).tolist()
        self.draws = len(self.levels) if self.sampler == "multistep" else 1

    def forward(self, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        solve = {"multistep": self._multistep, "gamma": self._jumps}.get(self.sampler, self._ode)
        return self.decoder(solve(lambda x, sigma, *ends: self.function(x, sigma, labels, *ends), noise))

    def _multistep(self, consistency: ConsistencyFunction, noise: Tensor) -> Tensor:
        """As samplers.sample_multistep, with nothing that a tracer cannot follow."""
        x, boundary = self.levels[0] * noise[0], self.function.boundary
        for number, level in enumerate(self.levels):
            if number:
                x = x + (level**2 - boundary**2) ** 0.5 * noise[number]  # Song et al. 2023, Algorithm 1, line 4
            x = consistency(x, _batch(level, x))
        return x

    def _jumps(self, jump: Jump, noise: Tensor) -> Tensor:
        """As samplers.sample_gamma at gamma 0: no noise but the first."""
        x = self.levels[0] * noise[0]
        for level, level_next in pairwise([*self.levels, self.function.boundary]):
            x = jump(x, _batch(level, x), _batch(level_next, x))
        return x

    def _ode(self, denoiser: Denoiser, noise: Tensor) -> Tensor:
        """As samplers.sample_heun and sample_euler."""
        x = self.levels[0] * noise[0]
        for level, level_next in pairwise([*self.levels, 0.0]):
            step = heun_step if self.sampler == "heun" and level_next else euler_step
            x = step(denoiser, x, _batch(level, x), _batch(level_next, x))
        return x


def _batch(level: float, x: Tensor) -> Tensor:
    return x.new_full((x.shape[0],), level)


def check_format(kind: str, opset: int = OPSET) -> None:
    """ValueError for a format that is not there, or whose packages are not, and for an opset that is never written."""
    check_name("format", kind, FORMATS)
    if opset not in OPSETS:
        raise InvalidInput.of("opset", opset, f"between {OPSETS[0]} and {OPSETS[-1]}")
    if opset != OPSET and kind != "onnx":
        raise InvalidInput(f"--opset is for --format onnx, and the format is {kind}.")
    if kind == "onnx" and (missing := [name for name in ONNX_NEEDS if not find_spec(name)]):
        raise InvalidInput(f"ONNX needs the packages {' and '.join(missing)}: pip install 'fewstep[export]'")


def export_model(model: Model, target: Path | str, kind: str, nfe: int = 1, opset: int = OPSET) -> Path:
    """Write a model as one of FORMATS, whole or not at all; nothing is written where check_format refuses.

    nfe: evaluations of a program. opset: the version of ONNX's operators.
    """
    check_format(kind, opset)
    FORMATS[kind](model, Path(target), nfe, opset)
    return Path(target)


def _folder(model: Model, target: Path, *_: int) -> None:
    folder = model.save(target.resolve()).folder
    shutil.copymode(folder / "model.json", folder / "model.safetensors")  # which safetensors lets its owner alone read


def _pt2(model: Model, target: Path, nfe: int, *_: int) -> None:
    program = Program(_as_written(model), nfe).eval()
    facts = {
        "name": model.spec.name,
        "levels": program.levels,
        "space": model.space.to_dict(),
        "sha256": model.sha256,
    }
    made = BytesIO()  # on a full disk torch's own writer ends the process
    torch.export.save(_traced(program, model), made, extra_files={"model.json": json.dumps(facts)})
    with replaced_file(target) as partial:
        partial.write_bytes(made.getbuffer())


def _onnx(model: Model, target: Path, nfe: int, opset: int) -> None:
    """One file, but for weights that a file of ONNX cannot hold: these lie beside it."""
    program = Program(_as_written(model), nfe).eval()
    names = {"output_names": ["samples"], "external_data": _size(program) > ONNX_HOLDS}
    traced = _traced(program, model)
    with replaced_with_company(target, _size(program)) as partial:
        torch.onnx.export(traced, f=partial, dynamo=True, opset_version=opset, **names)


def _as_written(model: Model) -> Model:
    """The model in float32, however its passes run here: copies leave that out."""
    return replace(model, function=copy.deepcopy(model.function))


def _size(program: Program) -> int:
    """Bytes of its weights."""
    return sum(weights.nbytes for weights in program.parameters())


def _traced(program: Program, model: Model) -> torch.export.ExportedProgram:
    """The program for batches of any size."""
    batch = torch.export.Dim("batch")
    inputs, shapes = [torch.zeros(program.draws, 2, *model.space.model_shape)], [{1: batch}]
    if model.spec.labels:
        inputs.append(torch.zeros(2, len(model.space.classes)))
        shapes.append({0: batch})
    return torch.export.export(program, tuple(inputs), dynamic_shapes=tuple(shapes), strict=True)  # it follows len(x)


def _diffusers(model: Model, target: Path, *_: int) -> None:
    write_diffusers(model, target)


FORMATS = {"folder": _folder, "pt2": _pt2, "onnx": _onnx, "diffusers": _diffusers}
