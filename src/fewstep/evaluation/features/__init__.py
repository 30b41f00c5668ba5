"""What images are compared by: the features of a classifier that ships or is trained here, or of a published network.

Imports go one way: extractor <- classifier, pretrained <- sources <- choice.
"""

from fewstep.evaluation.features.extractor import Extractor, Features
from fewstep.evaluation.features.sources import check_features, make_extractor, open_extractor

__all__ = ["Extractor", "Features", "check_features", "make_extractor", "open_extractor"]
