"""Measurements that suggest values for params.yaml: for people to read, in `.work/`, never an input of a result.

`train` finds this folder by name instead of importing it, so that a change here makes no weights stale.
"""
