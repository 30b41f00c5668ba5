"""The training loop, recipes, checkpoints and averages, callable from a notebook."""
