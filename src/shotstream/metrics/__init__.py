"""Compute the columns of the ShotStream paper's tables on any system's videos."""
