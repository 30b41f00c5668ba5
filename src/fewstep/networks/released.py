"""Published U-Nets as settings of ours.

NVlabs/edm: SongUNet (DDPM++ and NCSN++) and DhariwalUNet (EDM's ADM), by the arguments of their constructors.
NVlabs/edm2: UNet, by the arguments of its constructor.
openai/consistency_models: UNetModel, by the options of its command line.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from fewstep.support.errors import InvalidInput
from fewstep.support.names import check_name

# the authors' defaults; every other key is refused, but for those that do not change the network in use
SONG = dict(
    label_dim=0, augment_dim=0, model_channels=128, channel_mult=[1, 2, 2, 2], channel_mult_emb=4, num_blocks=4,
    attn_resolutions=[16], dropout=0.1, embedding_type="positional", channel_mult_noise=1, encoder_type="standard",
    decoder_type="standard", resample_filter=[1, 1],
)  # fmt: skip
DHARIWAL = dict(
    label_dim=0, augment_dim=0, model_channels=192, channel_mult=[1, 2, 3, 4], channel_mult_emb=4, num_blocks=3,
    attn_resolutions=[32, 16, 8], dropout=0.1,
)  # fmt: skip
EDM2 = dict(
    label_dim=0, model_channels=192, channel_mult=[1, 2, 3, 4], channel_mult_noise=None, channel_mult_emb=None,
    num_blocks=3, attn_resolutions=[16, 8], channels_per_head=64, dropout=0.0,
)  # fmt: skip
EDM2_FIXED = dict(
    label_balance=0.5, concat_balance=0.5, res_balance=0.3, attn_balance=0.3, clip_act=256, resample_filter=[1, 1]
)
OPENAI = dict(
    image_size=64, num_channels=128, num_res_blocks=2, num_heads=4, num_heads_upsample=-1, num_head_channels=-1,
    attention_resolutions="32,16,8", channel_mult="", dropout=0.0, class_cond=False, use_scale_shift_norm=True,
    resblock_updown=False, learn_sigma=False,
)  # fmt: skip
OPENAI_MULT = {512: "0.5,1,1,2,2,4,4", 256: "1,1,2,2,4,4", 128: "1,1,2,3,4", 64: "1,2,3,4"}
WITHOUT_EFFECT = (
    "model_type", "label_dropout", "use_checkpoint", "use_fp16", "use_new_attention_order", "logvar_channels",
    "sigma_data",
)  # fmt: skip
EDM_SHAPE = ("img_resolution", "in_channels", "out_channels")


def from_published(config: Mapping[str, Any]) -> dict[str, Any]:
    """{spec, shape, num_classes}, the arguments of build_network, from the authors' configuration.

    Raises ValueError for what our network cannot be.
    """
    return FAMILIES[family_of(config)](config)


def family_of(config: Mapping[str, Any]) -> str:
    """The class of the authors' network, by its name or, of EDM2's and OpenAI's, by its arguments."""
    told_apart = "UNet" if "img_channels" in config else None if "img_resolution" in config else "UNetModel"
    return check_name("model_type", config.get("model_type", told_apart), FAMILIES)


def _song(config: Mapping[str, Any]) -> dict[str, Any]:
    c = _filled(config, SONG, EDM_SHAPE)
    spec = _edm_spec(c) | {
        "stem_mult": 1,
        "channel_mult_noise": c["channel_mult_noise"],
        "decoder_attention": "last",
        "adaptive_scale": False,
        "skip_scale": 0.5**0.5,
        "encoder": c["encoder_type"],
        "decoder": c["decoder_type"],
        "resample_filter": list(c["resample_filter"]),
        "resample_proj": True,
        "norm_eps": 1e-6,
        "init": "xavier",
        "embedding": c["embedding_type"],
        "endpoint": True,
        "labels_first": True,
    }
    return _edm(c, spec)


def _dhariwal(config: Mapping[str, Any]) -> dict[str, Any]:
    c = _filled(config, DHARIWAL, EDM_SHAPE)
    spec = _edm_spec(c) | {"stem_mult": c["channel_mult"][0], "head_channels": 64}
    # fewer channels than one head has: the authors' network has no attention there
    attends = {c["img_resolution"] >> i: c["model_channels"] * m >= 64 for i, m in enumerate(c["channel_mult"])}
    spec["attn_resolutions"] = [r for r in spec["attn_resolutions"] if attends[r]]
    spec["middle_attention"] = c["model_channels"] * c["channel_mult"][-1] >= 64
    return _edm(c, spec)


def _edm_spec(c: Mapping[str, Any]) -> dict[str, Any]:
    sizes = [c["img_resolution"] >> level for level in range(len(c["channel_mult"]))]
    return {
        "name": "unet",
        "channels": c["model_channels"],
        "channel_mult": list(c["channel_mult"]),
        "channel_mult_emb": c["channel_mult_emb"],
        "num_blocks": c["num_blocks"],
        "attn_resolutions": [r for r in sizes if r in c["attn_resolutions"]],
        "dropout": c["dropout"],
        "augment_dim": c["augment_dim"],
    }


def _edm(c: Mapping[str, Any], spec: dict[str, Any]) -> dict[str, Any]:
    if c["in_channels"] != c["out_channels"]:
        raise InvalidInput(f"out_channels must be equal to in_channels ({c['in_channels']}), got {c['out_channels']}.")
    size = c["img_resolution"]
    return {"spec": spec, "shape": (c["in_channels"], size, size), "num_classes": c["label_dim"]}


def _edm2(config: Mapping[str, Any]) -> dict[str, Any]:
    c = _filled(config, EDM2 | EDM2_FIXED, ("img_resolution", "img_channels"))
    for name, value in EDM2_FIXED.items():
        if c[name] != value:
            raise InvalidInput(f"{name} must be {value}, as in all of EDM2's published networks, got {c[name]}.")
    size, mult = c["img_resolution"], list(c["channel_mult"])
    # fewer channels than one head has: the authors' network has no attention there
    attends = {size >> level: c["model_channels"] * m >= c["channels_per_head"] for level, m in enumerate(mult)}
    spec = {
        "name": "edm2",
        "channels": c["model_channels"],
        "channel_mult": mult,
        "channel_mult_emb": c["channel_mult_emb"] or max(mult),
        "channel_mult_noise": c["channel_mult_noise"] or mult[0],
        "num_blocks": c["num_blocks"],
        "attn_resolutions": [r for r, wide in attends.items() if wide and r in c["attn_resolutions"]],
        "middle_attention": list(attends.values())[-1],
        "head_channels": c["channels_per_head"],
        "dropout": c["dropout"],
    }
    return {"spec": spec, "shape": (c["img_channels"], size, size), "num_classes": c["label_dim"]}


def _openai(config: Mapping[str, Any]) -> dict[str, Any]:
    c = _filled(config, OPENAI)
    if c["learn_sigma"]:
        raise InvalidInput("learn_sigma must be false: networks that also return a variance are not supported.")
    size = c["image_size"]
    mult = c["channel_mult"] or OPENAI_MULT[int(check_name("image_size", str(size), map(str, OPENAI_MULT)))]
    mult = [int(m) if float(m).is_integer() else float(m) for m in _listed(mult)]
    factors = [size // int(r) for r in _listed(c["attention_resolutions"])]  # sizes are given, factors are meant
    spec = {
        "name": "unet",
        "channels": c["num_channels"],
        "channel_mult": mult,
        "stem_mult": mult[0],
        "num_blocks": c["num_res_blocks"],
        "attn_resolutions": [size >> level for level in range(len(mult)) if 2**level in factors],
        "num_heads": c["num_heads"],
        "decoder_heads": max(c["num_heads_upsample"], 0),
        "head_channels": max(c["num_head_channels"], 0),
        "dropout": c["dropout"],
        "adaptive_scale": c["use_scale_shift_norm"],
        "resample": "block" if c["resblock_updown"] else "conv",
        "group_channels": 1,
        "c_noise_scale": 1000.0,
    }
    return {"spec": spec, "shape": (3, size, size), "num_classes": 1000 if c["class_cond"] else 0}


FAMILIES = {"SongUNet": _song, "DhariwalUNet": _dhariwal, "UNet": _edm2, "UNetModel": _openai}


def _filled(config: Mapping[str, Any], defaults: Mapping[str, Any], required: tuple[str, ...] = ()) -> dict[str, Any]:
    for key in config:
        check_name("key of a published configuration", key, [*defaults, *required, *WITHOUT_EFFECT])
    if missing := [key for key in required if key not in config]:
        raise InvalidInput(f"the configuration must have {', '.join(missing)}.")
    return {**defaults, **config}


def _listed(numbers: str | Sequence[Any]) -> list[Any]:
    return numbers.split(",") if isinstance(numbers, str) else list(numbers)
