"""Onestep: one house for consistency models."""
