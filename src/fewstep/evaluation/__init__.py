"""How good samples are."""

FULL_SEEDS = 3  # scores of fewer are provisional, and no gate decides by them
