"""The commands of `onestep`, a module for each group of them."""
