"""A trained function with the space of its data and its description, saved in a folder and loaded from it."""
