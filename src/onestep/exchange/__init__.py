"""Models from elsewhere and for elsewhere: published checkpoints in; folders and exported programs out."""

from onestep.exchange.hugging_face import import_diffusers
from onestep.exchange.outgoing import FORMATS, check_format, export_model
from onestep.exchange.published import import_nvidia, import_openai

__all__ = ["FORMATS", "check_format", "export_model", "import_diffusers", "import_nvidia", "import_openai"]
