"""The import of torch-fidelity."""

from fewstep.support.torchvision_loading import ensure_torchvision_loads


def import_fidelity():
    """torch_fidelity itself, beside any build of torchvision."""
    ensure_torchvision_loads()
    import torch_fidelity

    return torch_fidelity
