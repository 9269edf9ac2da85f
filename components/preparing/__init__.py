"""How raw data of each kind becomes records in splits, and what is checked on the way."""
