"""Measured ratios, never timed tests: `make bench`, or `python -m tests.benchmarks NAME` for one of them.

One benchmark is one file with `measure() -> list[Ratio]`; both sides run in turn in one session, because machines are
noisy and drift, and what is quoted is the median of the ratios.
"""
