"""Published checkpoints as models of ours: a teacher (EDM) or a student (CD, CT, ECT)."""

import hashlib
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from fewstep.data.space import DataSpace
from fewstep.diffusion.levels import SIGMA_MAX
from fewstep.exchange.edm2_config import edm2_config
from fewstep.exchange.pickled_modules import Part
from fewstep.exchange.transformers import read_weights, refuse_transformer
from fewstep.exchange.unpickling import read_pickle
from fewstep.models.model import SIGMA_DATA, Model, build_function
from fewstep.models.spec import ModelSpec, Provenance
from fewstep.networks import build_network
from fewstep.networks.released import from_published
from fewstep.networks.released_weights import import_weights
from fewstep.support.errors import InvalidInput, UserError, reason_of
from fewstep.support.names import check_name

# openai/consistency_models, scripts/launch.sh: what the released state dictionaries were trained with.
OPENAI = {
    "imagenet64": {
        "attention_resolutions": "32,16,8", "num_head_channels": 64, "use_scale_shift_norm": True,
        "resblock_updown": True, "num_heads": 4, "image_size": 64, "num_channels": 192, "num_res_blocks": 3,
        "class_cond": True,
    },
    "lsun256": {
        "attention_resolutions": "32,16,8", "num_head_channels": 64, "use_scale_shift_norm": False,
        "resblock_updown": True, "num_heads": 4, "image_size": 256, "num_channels": 256, "num_res_blocks": 2,
        "class_cond": False,
    },
}  # fmt: skip
Levels = Mapping[int, Sequence[float]]
MOST = 2**31  # of any number of a network's settings
EDM2, PIXELS = "Precond", "StandardRGBEncoder"  # classes in EDM2's files: the network, and what encodes images
TEACHER = {"preconditioning": {"name": "edm"}, "sampler": "heun"}


def import_openai(
    path: Path | str,
    name: str,
    dataset: str,
    *,
    teacher: bool = True,
    config: Mapping | None = None,
    levels: Levels | None = None,
) -> Model:
    """The model of an OpenAI state dictionary. teacher: an EDM denoiser, or else a consistency model (CD, CT).

    config: the options it was trained with; of the released networks, whose shapes tell, if not given. levels: {NFE:
    noise levels after the first} that a student is sampled at. Raises ValueError for a file that is no such dictionary,
    or of another network, and for levels that cannot be.
    """
    weights = read_weights(path)
    refuse_transformer(weights, path)
    config = config or _fitting(weights, path)
    student = {"preconditioning": {"name": "consistency"}, "sampler": "multistep"}
    return _model(weights, config, sampled(TEACHER if teacher else student, levels), name, dataset, path)


def import_nvidia(
    path: Path | str, name: str, dataset: str, *, teacher: bool = True, levels: Levels | None = None
) -> Model:
    """The model of an EDM, EDM2 or ECT network pickle: its average of weights ("ema"). Nothing in the file is run.

    What the network knows of augmentations of its training images is left out, as in its sampling.

    teacher: an EDM denoiser, or else a consistency model (ECT). levels: as in import_openai. Raises ValueError for a
    pickle of other things, and for networks that are preconditioned in other ways.
    """
    content = read_pickle(path)
    wrapper = content.get("ema") if isinstance(content, Mapping) else None
    if not isinstance(wrapper, Part):
        raise InvalidInput(f"{path} is not a network pickle of NVIDIA: it has no network called 'ema'.")
    check_name("import of the preconditioning", wrapper.kind, ("EDMPrecond", "ECMPrecond", EDM2))
    scale = wrapper.attributes.get("sigma_data", SIGMA_DATA)
    if not _is_plain(scale) or scale != SIGMA_DATA:
        raise InvalidInput(
            f"{path} must have sigma_data {SIGMA_DATA}, got {scale if _is_plain(scale) else type(scale).__name__}."
        )
    kind = sampled(_kind(wrapper, teacher, path), levels)
    if wrapper.kind == EDM2:
        return _edm2(content, wrapper, kind, name, dataset, path)
    network = wrapper.modules.get("model")
    if not isinstance(network, Part) or (options := _options(network, path)) is None:
        raise InvalidInput(f"{path} does not say what network it holds: 'model' with its arguments is missing.")
    return _model(network.tensors(), {"model_type": network.kind, **options}, kind, name, dataset, path)


def _edm2(content: Mapping, wrapper: Part, kind: dict, name: str, dataset: str, path: Path | str) -> Model:
    """The model of EDM2's network, which is known by its shapes."""
    encoder, network = content.get("encoder"), wrapper.modules.get("unet")
    if isinstance(encoder, Part) and encoder.kind != PIXELS:
        raise InvalidInput(f"{path} generates latents of {encoder.kind}: only networks of pixels are imported.")
    options = _options(network, path) if isinstance(network, Part) else None
    weights = wrapper.tensors()
    with _naming_configuration(path):
        config = edm2_config(weights, options or {})
    return _model(weights, config, kind, name, dataset, path)


def _options(network: Part, path: Path | str) -> Mapping | None:
    """The arguments that a network was made with, where the file says them."""
    options = network.attributes.get("_init_kwargs")
    if not isinstance(options, Mapping):
        return None
    if odd := [str(name) for name, value in options.items() if not _is_plain(value)]:
        raise InvalidInput(f"{path} must describe its network by numbers and words, and {odd[0]} is neither.")
    return options


def _is_plain(value: object) -> bool:
    """Whether it is a number that a network may have, a word, or a list of such."""
    values = value if isinstance(value, list | tuple) else [value]
    return all((isinstance(v, int) and abs(v) <= MOST) or isinstance(v, float | str | None) for v in values)


def _kind(wrapper: Part, teacher: bool, path: Path | str) -> dict:
    """How NVIDIA's network becomes a function, and what samples it."""
    if wrapper.kind != "ECMPrecond":  # ECT's first networks too: their boundary is at 0
        return TEACHER if teacher else {**TEACHER, "sampler": "multistep"}
    if teacher:
        raise InvalidInput(f"{path} holds a consistency model: import it with --as student.")
    boundary = wrapper.attributes.get("sigma_min")  # as in eval mode, where it is sampled
    if not isinstance(boundary, int | float):
        raise InvalidInput(f"{path} does not give its sigma_min.")
    return {"preconditioning": {"name": "consistency", "boundary": float(boundary)}, "sampler": "multistep"}


def sampled(kind: dict, levels: Levels | None) -> dict:
    """The kind of function with its sampling levels; a denoiser's are not chosen."""
    if levels and kind["sampler"] != "multistep":
        raise InvalidInput(
            f"levels must be empty for a teacher, which takes those of Karras et al. 2022, got {dict(levels)}."
        )
    chosen = {int(nfe): tuple(later) for nfe, later in (levels or {}).items()}
    if odd := [nfe for nfe, later in chosen.items() if len(later) != nfe - 1]:
        raise InvalidInput(
            f"levels of {odd[0]} NFE must be {odd[0] - 1} after {SIGMA_MAX:g}, got {list(chosen[odd[0]])}."
        )
    return {**kind, "levels": chosen}


def _model(
    weights: Mapping[str, Tensor], config: Mapping, kind: dict, name: str, dataset: str, path: Path | str
) -> Model:
    hidden = config.get("label_dropout")  # NVIDIA's networks hide labels themselves
    trained = {"label_dropout": float(hidden)} if hidden else None
    return model_of(*_unaugmented(*_checked(weights, config, path)), kind, name, dataset, path, trained)


def model_of(
    published: Mapping,
    renamed: Mapping[str, Tensor],
    kind: dict,
    name: str,
    dataset: str,
    path: Path | str,
    trained: dict | None = None,
) -> Model:
    """The finished model of {spec, shape, num_classes} with these weights.

    kind: its preconditioning, sampler and levels. trained: what is known of its training.
    """
    classes = tuple(map(str, range(published["num_classes"])))
    space = DataSpace(dataset, "images", published["shape"], 1.0, classes)
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    run = f"imported-{digest[:12]}"
    provenance = Provenance(run, source=Path(path).name, source_sha256=digest, training=trained, seconds=0.0)
    spec = ModelSpec(name, published["spec"], **kind, labels=bool(classes), provenance=provenance)
    function = build_function(spec, space)
    function.network.load_state_dict(renamed)
    model = Model(function.eval().requires_grad_(False), space, spec)
    for nfe in spec.levels:
        model.check_levels(model.levels(nfe), nfe)
    return model


@contextmanager
def _naming_configuration(path: Path | str) -> Generator[None]:
    """What a configuration from elsewhere makes go wrong, with the name of its file."""
    try:
        yield
    except (TypeError, KeyError, IndexError, ZeroDivisionError, UserError) as problem:
        raise InvalidInput(f"{path} has a configuration that fits no network: {reason_of(problem)}") from None


def _checked(weights: Mapping[str, Tensor], config: Mapping, path: Path | str) -> tuple[dict, dict[str, Tensor]]:
    """Our settings of the network, and the weights by our names; nothing is built that is larger than the file."""
    with _naming_configuration(path):
        published = from_published(config)
        too_much = too_large(published["spec"], published["num_classes"], weights)
    if too_much:
        raise InvalidInput(f"{path} is refused: {too_much}.")
    with _naming_configuration(path):
        with torch.device("meta"):
            ours = build_network(**published).state_dict()
        renamed = {key: value.float() for key, value in import_weights(config, weights).items()}
    if problem := _difference(renamed, ours):
        raise InvalidInput(f"{path} holds another network than its configuration says: {problem}.")
    return published, renamed


def _unaugmented(published: dict, renamed: dict[str, Tensor]) -> tuple[dict, dict[str, Tensor]]:
    """Without the layer of augmentation labels: sampling gives none, so that the function is the same."""
    spec = {**published["spec"], "augment_dim": 0}
    return {**published, "spec": spec}, {n: w for n, w in renamed.items() if not n.startswith("embed.augment.")}


def too_large(spec: Mapping, num_classes: int, weights: Mapping[str, Tensor]) -> str | None:
    """Why building a network of this spec would take more than its weights do, of which each block has some."""
    blocks = (spec["num_blocks"] + 1) * len(spec["channel_mult"])
    if max(blocks, len(spec.get("resample_filter", ()))) > len(weights):
        return "its configuration has more blocks than weights"
    if num_classes > sum(weight.numel() for weight in weights.values()):
        return "its configuration has more classes than weights"
    return None


def _fitting(weights: Mapping[str, Tensor], path: Path | str) -> dict:
    """The released configuration whose network has these parameters."""
    problems = []
    for released, config in OPENAI.items():
        try:
            with torch.device("meta"):
                ours = build_network(**from_published(config)).state_dict()
            problem = _difference(import_weights(config, weights), ours)
        except (UserError, IndexError) as other:
            problem = f"its weights have other names ({other})"
        if not problem:
            return config
        problems.append(f"{released}: {problem}")
    raise InvalidInput(
        f"{path} is not one of the released networks ({'; '.join(problems)}). Give its options: --config FILE."
    )


def _difference(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str | None:
    """The first difference of names or shapes, in words."""
    for name in sorted(expected.keys() | found.keys()):
        here, there = (side[name].shape if name in side else None for side in (found, expected))
        if here != there:
            return f"{name} is {list(here) if here else 'missing'}, and would be {list(there) if there else 'none'}"
    return None
