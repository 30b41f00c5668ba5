"""The stages: short, typed nodes, and the datasets that they read and write."""
