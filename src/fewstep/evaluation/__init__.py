"""How good samples are: features, scores, the floor, memorisation, the search for noise levels."""

NUMERICS = 1  # of the features and scores: see fewstep.training.numerics
FULL_SEEDS = 3  # scores of fewer are provisional, and no gate decides by them
