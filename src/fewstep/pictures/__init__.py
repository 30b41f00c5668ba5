"""Samples as pictures: grids, sheets and scatter plots."""
