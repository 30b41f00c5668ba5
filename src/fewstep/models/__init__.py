"""A trained function with its data space and description, in memory and in a folder."""
