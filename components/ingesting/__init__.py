"""How raw files get here: only what is new or has changed, several at a time, each complete or absent."""
