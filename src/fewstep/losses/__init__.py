"""Parts of losses that several methods share: distances, pairs of points, weights, adversarial terms."""

NUMERICS = 1  # see fewstep.training.numerics
