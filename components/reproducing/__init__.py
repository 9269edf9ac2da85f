"""A registered version made again: what it says of itself, the rebuild in a work tree, and what came out other."""
