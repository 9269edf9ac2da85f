"""Codes of records: the encoder inside a registered scorer, and what it has said already, kept on this machine.

Nothing here imports torch. The cache decides no number: a code is computed once and found again by what it was made
of, so an answer has the same bytes with a full cache, an empty one, and none.
"""
