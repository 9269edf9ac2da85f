"""Scores and what they are worth: reconstruction errors, conformal decisions, metrics with intervals."""
