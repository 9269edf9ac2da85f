"""Faults, provoked on purpose: `make faults`, or `python -m tests.faults NAME` for one kind of them.

One kind of fault is one file with `provoke(world, random) -> Iterator[Result]`: it spoils a run, looks how the run
ends, lets it continue, and compares what it comes to with an undisturbed run.
"""
