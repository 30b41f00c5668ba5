"""Models from elsewhere and for elsewhere: published checkpoints in; folders and exported programs out."""

from fewstep.exchange.checkpoints import import_nvidia, import_openai
from fewstep.exchange.export import FORMATS, check_format, export_model
from fewstep.exchange.hugging_face import import_diffusers
from fewstep.exchange.transformers import import_transformer

__all__ = [
    "FORMATS",
    "check_format",
    "export_model",
    "import_diffusers",
    "import_nvidia",
    "import_openai",
    "import_transformer",
]
