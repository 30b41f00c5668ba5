"""The commands of `fewstep`, a module for each group of them."""
