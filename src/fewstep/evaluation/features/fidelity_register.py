"""Our extractors in the register of torch-fidelity."""

from torch import Tensor

from fewstep.evaluation.features.extractor import Extractor
from fewstep.evaluation.features.fidelity import import_fidelity
from fewstep.evaluation.features.pretrained import PRETRAINED


def register_extractor(extractor: Extractor) -> str:
    """Make an extractor known to torch_fidelity.calculate_metrics(feature_extractor=...) by its name; returns that.

    Its layers are called "features" and "logits". Registering the same again changes nothing; another of the same name
    takes its place. One of torch-fidelity's own networks is known already, its layers by other names. Raises ValueError
    for another extractor by such a name.
    """
    import_fidelity()
    from torch_fidelity.feature_extractor_base import FeatureExtractorBase
    from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY, register_feature_extractor

    class Registered(FeatureExtractorBase):
        """The extractor as torch-fidelity calls it; images are uint8 [B, C, H, W]."""

        ours = True

        def __init__(self, name: str, features_list: list[str], **_: object):
            super().__init__(name, features_list)
            self.network = extractor.network

        @staticmethod
        def get_provided_features_list():
            return "features", "logits"

        @staticmethod
        def get_default_feature_layer_for_metric(metric: str):
            return "logits" if metric == "isc" else "features"

        @staticmethod
        def can_be_compiled():
            return False

        def forward(self, input: Tensor):
            found = dict(zip(self.get_provided_features_list(), self.network(input), strict=True))
            return tuple(found[name] for name in self.features_list)

    earlier = FEATURE_EXTRACTORS_REGISTRY.get(extractor.name)
    if hasattr(earlier, "ours"):
        del FEATURE_EXTRACTORS_REGISTRY[extractor.name]
    elif earlier and extractor.name in PRETRAINED:
        return extractor.name
    register_feature_extractor(extractor.name, Registered)
    return extractor.name
