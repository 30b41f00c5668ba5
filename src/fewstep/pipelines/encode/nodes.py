"""From images to their latents, where an autoencoder is asked for."""

from fewstep.config.parameters import DataParameters
from fewstep.console import progress_bar
from fewstep.data.latent_store import LatentStore
from fewstep.data.store import ArrayStore
from fewstep.pipelines.workplace import Workplace
from fewstep.support.errors import InvalidInput
from fewstep.training.recipe import Recipe


def encode_latents(
    images: ArrayStore,
    encoded: LatentStore | None,
    data: DataParameters,
    teacher: Recipe,
    student: Recipe,
    workplace: Workplace,
) -> LatentStore:
    """The latents, prepared among unfinished work; with those of mirrored images, if teacher or student are to see any.

    encoded: what was encoded before. It is taken again where it is the same.
    """
    from fewstep.autoencoders import Autoencoder
    from fewstep.data.encoding import encode_images

    if data.autoencoder is None:
        raise InvalidInput("encode needs an autoencoder, and data.autoencoder is not set: see docs/latents.md.")
    autoencoder = Autoencoder.open(data.autoencoder)
    mirrored = any(stage.training.flips for recipe in (teacher, student) for stage in recipe.chain)
    if encoded and _is_of(encoded, images, autoencoder.sha256) and encoded.mirrored >= mirrored:
        print(f"latents: {encoded.folder} holds those of these images and this autoencoder.", flush=True)
        return encoded
    with progress_bar("encode") as bar:
        how = {"mirrored": mirrored, "device": workplace.launch.device(), "on_progress": bar}
        made = encode_images(images, autoencoder, workplace.runs / "latents", **how)
    shape = "x".join(map(str, made.space.model_shape))
    copies = ", and those of mirrored images" if made.mirrored else ""
    print(f"latents: {shape} for each image, by the {autoencoder.kind} in {data.autoencoder}{copies}", flush=True)
    return made


def _is_of(encoded: LatentStore, images: ArrayStore, autoencoder: str) -> bool:
    """Whether latents are those of these images, by the autoencoder of this hash."""
    return (encoded.images_sha256, encoded.space.latents.autoencoder) == (images.sha256, autoencoder)
