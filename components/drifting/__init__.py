"""Whether scored records still look like those that a version was calibrated on; a file per kind of check."""
