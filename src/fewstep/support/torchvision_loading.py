"""torchvision beside a torch that its compiled operators were not built for (a CUDA wheel on a CPU machine).

`import torchvision` then fails with "operator torchvision::nms does not exist", and so do lpips and torch_fidelity.
With those operators merely declared it imports; models, transforms and datasets work, `ops.nms` and `io` do not.
"""

from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import torch

_DETECTIONS = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_declared: list[torch.library.Library] = []  # a library that is collected takes its operators with it


def import_torchvision() -> ModuleType:
    """torchvision itself. Raises ImportError where it is not installed."""
    ensure_torchvision_loads()
    import torchvision

    return torchvision


def ensure_torchvision_loads() -> None:
    """Declare the missing operators if the extension cannot be loaded. Call it before importing what needs them."""
    spec = find_spec("torchvision")
    if spec is None or hasattr(torch.ops.torchvision, "nms") or _extension_loads(Path(spec.origin or "").parent):
        return
    library = torch.library.Library("torchvision", "FRAGMENT")
    library.define(f"nms{_DETECTIONS}")
    library.define(f"qnms{_DETECTIONS}")
    _declared.append(library)


def _extension_loads(package: Path) -> bool:
    for extension in (*package.glob("_C*.so"), *package.glob("_C*.pyd")):
        try:
            torch.ops.load_library(extension)
        except (ImportError, OSError):
            continue
        return True
    return False
