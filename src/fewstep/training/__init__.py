"""The training loop, recipes, checkpoints and averages, callable from a notebook."""

NUMERICS = 1  # of the loop, its optimisers and its averages: see fewstep.training.numerics
