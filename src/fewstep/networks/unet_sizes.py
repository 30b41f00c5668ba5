"""The sizes of the U-Net's feature maps, and which settings fit an image."""

from collections.abc import Sequence

from fewstep.support.errors import InvalidInput

TIMES = {0: "cannot be halved", 1: "can be halved once", 2: "can be halved twice"}


def feature_sizes(
    shape: Sequence[int], channel_mult: Sequence[float], attn_resolutions: Sequence[int], network: str = "unet"
) -> list[tuple[int, int]]:
    """(height, width) of the feature maps, the largest first, each half of the one before: one for each width.

    Raises InvalidInput, with settings that fit, for an image that cannot be halved so often and for attention at a size
    that is not among them.
    """
    if len(shape) != 3:
        raise InvalidInput(
            f"the network {network!r} takes images of shape [C, H, W], got {list(shape)}: use 'mlp' for points."
        )
    if not channel_mult:
        raise InvalidInput("channel_mult must have at least one entry, got [].")
    size, levels = (shape[1], shape[2]), len(channel_mult)
    sizes = [(size[0] >> level, size[1] >> level) for level in range(min(levels, _halvings(size) + 1))]
    unknown = sorted(set(attn_resolutions) - {height for height, _ in sizes})
    fitting = f"attn_resolutions={_nearest(attn_resolutions, sizes)}"
    if len(sizes) < levels:
        times = TIMES.get(len(sizes) - 1, f"can be halved {len(sizes) - 1} times")
        other = "x".join(str(_multiple(side, 2 ** (levels - 1))) for side in size)
        raise InvalidInput(
            f"{size[0]}x{size[1]} pixels {times}, so channel_mult must have at most {len(sizes)} "
            f"entr{'ies' if len(sizes) > 1 else 'y'}, got {_listed(channel_mult)}. Try channel_mult="
            f"{_listed(channel_mult[: len(sizes)])}{f' and {fitting}' if unknown else ''}, or images of {other}."
        )
    if unknown:
        raise InvalidInput(
            f"attn_resolutions must be sizes of this network on images of {size[0]}x{size[1]} "
            f"({[h for h, _ in sizes]}), got {unknown}. Try {fitting}."
        )
    return sizes


def _halvings(size: tuple[int, int]) -> int:
    """How often both sides can be halved."""
    both = size[0] | size[1]
    return (both & -both).bit_length() - 1


def _nearest(wanted: Sequence[int], sizes: Sequence[tuple[int, int]]) -> list[int]:
    """The heights that are nearest to those that are wanted."""
    heights = [height for height, _ in sizes]
    found = {min(heights, key=lambda height: max(height, one) / max(1, min(height, one))) for one in wanted}
    return sorted(found, reverse=True)


def _listed(numbers: Sequence[float]) -> str:
    return f"[{', '.join(f'{number:g}' for number in numbers)}]"


def _multiple(side: int, unit: int) -> int:
    """The multiple of a unit that is nearest to a side."""
    return max(1, round(side / unit)) * unit
