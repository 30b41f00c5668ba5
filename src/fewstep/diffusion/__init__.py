"""Facts about noise: levels, solver steps, guidance, seeded randomness, the Gaussian in closed form."""
