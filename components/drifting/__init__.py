"""Whether scored records still look like those that a version was calibrated on; a file per kind of check."""

from pathlib import Path

MONITORING = Path(".monitoring")
"""NAME/VERSION/ of each version that was looked at: its memory, and the report of the last look."""
