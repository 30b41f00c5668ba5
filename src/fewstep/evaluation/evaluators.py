"""Scores against a published reference, by the rules of the program that the reference is for."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fewstep.data.space import DataSpace
from fewstep.evaluation.features.extractor import Extractor, Features
from fewstep.evaluation.frechet import FeatureStatistics
from fewstep.evaluation.neighbours import Neighbourhoods, compare_neighbours
from fewstep.evaluation.reference_files import NETWORKS, ReferenceFile
from fewstep.support.errors import InvalidInput

SPLIT = 5000  # samples in a part of OpenAI's inception score


@dataclass(frozen=True)
class Evaluator:
    """The rules of one program, against one reference.

    file: where the reference is from. statistics, spatial: of its features, in this extractor's terms. neighbours: of
    its images, where it has any.
    """

    file: ReferenceFile
    statistics: FeatureStatistics
    spatial: FeatureStatistics | None = None
    neighbours: Neighbourhoods | None = None

    @classmethod
    def of(cls, file: ReferenceFile, extractor: Extractor, space: DataSpace) -> "Evaluator":
        """Raises InvalidInput if the reference does not fit the data or the features."""
        file.check(extractor, space)
        # As OpenAI's evaluator: statistics of the file go before those of its images. They are Inception's.
        kept = file if extractor.name == NETWORKS.get(file.evaluator, extractor.name) or file.about else None
        statistics, spatial, neighbours = (kept.statistics, kept.spatial, None) if kept else (None, None, None)
        if file.batch:
            found = extractor(file.images(space.shape[0]), spatial=True)
            neighbours = Neighbourhoods.of(found.features)
            statistics = statistics or FeatureStatistics.of(found.features)
            if found.spatial is not None:
                spatial = spatial or FeatureStatistics.of(found.spatial)
        assert statistics is not None
        return cls(file, statistics, spatial, neighbours)

    def check_width(self, features: int) -> None:
        """Raise InvalidInput if an image has another number of features than those of the reference."""
        if (known := len(self.statistics.mean)) != features:
            raise InvalidInput(
                f"evaluation.reference: {self.file.path} has statistics of {known} features, and evaluation.features "
                f"gives {features}."
            )

    def scores(self, samples: Features) -> dict[str, float]:
        """{fid_<evaluator>: its value}; of OpenAI's also sfid_, precision_, recall_ and is_, where they can be had."""
        found = {"fid": self.statistics.distance(FeatureStatistics.of(samples.features))}
        if self.file.evaluator == "adm":
            found |= self._more_of_openai(samples)
        return {f"{name}_{self.file.evaluator}": value for name, value in found.items()}

    def _more_of_openai(self, samples: Features) -> dict[str, float]:
        """Of Dhariwal and Nichol 2021: sFID (Nash et al. 2021), precision and recall with k = 3, IS in parts."""
        found = {}
        if self.spatial and samples.spatial is not None:
            found["sfid"] = self.spatial.distance(FeatureStatistics.of(samples.spatial))
        if self.neighbours:
            compared = compare_neighbours(samples.features, self.neighbours)
            found |= {name: compared[name] for name in ("precision", "recall")}
        if samples.logits is not None:
            found["is"] = inception_score_in_parts(samples.logits)
        return found


def inception_score_in_parts(logits: Tensor, size: int = SPLIT) -> float:
    """The mean over parts of exp E KL(p(y|x) | p(y)) (Salimans et al. 2016), of consecutive samples. logits: [N, K]."""
    logs = logits.double().log_softmax(1)
    parts = []
    for log in logs.split(size):
        marginal = log.exp().mean(0).clamp_min(torch.finfo(torch.float64).tiny).log()
        parts.append((log.exp() * (log - marginal)).sum(1).mean().exp())
    return float(np.mean([float(part) for part in parts]))


def evaluators_of(
    files: tuple[ReferenceFile, ...], extractor: Extractor | None, space: DataSpace
) -> tuple[Evaluator, ...]:
    """One of each file. Raises InvalidInput where one does not fit, and for points, which have no features."""
    if files and extractor is None:
        raise InvalidInput(f"evaluation.reference is for images, and {space.name} has {space.kind}: leave it out.")
    return tuple(Evaluator.of(file, extractor, space) for file in files if extractor)
