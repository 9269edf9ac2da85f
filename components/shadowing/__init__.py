"""Versions in shadow: they score what the champion scores, nobody acts on it, and what they would have done decides."""
