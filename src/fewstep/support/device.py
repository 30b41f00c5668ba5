"""Where networks run."""

import torch


def best_device() -> str:
    """The GPU, where there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def set_float32_precision(device: torch.device, precision: str) -> None:
    """How this process multiplies float32 matrices on a GPU, and convolves: "highest" is float32 alone, no TF32."""
    if device.type == "cuda":
        torch.set_float32_matmul_precision(precision)
        torch.backends.cudnn.allow_tf32 = precision != "highest"
