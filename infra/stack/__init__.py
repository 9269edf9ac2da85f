"""The real servers as plain processes on loopback: PostgreSQL, S3, MLflow, Prefect and a worker of Prefect's.

One file for each server; `settings` says where everything lies, `processes` starts and stops.
"""
