"""Ablations: the runs of a grid, worked off by processes that share nothing but the folders of these runs."""
