"""Facts about noise: levels, solver steps, guidance, seeded randomness, the Gaussian in closed form."""

NUMERICS = 1  # of the levels, solvers and guidance: see fewstep.training.numerics
