"""What prepare leaves and every later stage reads: the manifest, the splits and the scaling."""
