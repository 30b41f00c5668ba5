"""Autoencoders, in whose latents models can be trained in place of pixels."""

from fewstep.autoencoders.autoencoder import Autoencoder
from fewstep.autoencoders.coders import Coder

__all__ = ["Autoencoder", "Coder"]
