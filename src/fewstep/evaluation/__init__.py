"""How good samples are: features, scores, their floor, memorisation, and the search for noise levels."""

NUMERICS = 1  # of the features and scores: see fewstep.training.numerics
FULL_SEEDS = 3  # scores of fewer seeds are provisional, and the gate does not decide by them
