"""Every parameter of the project, typed, and how overlays are merged."""
