"""How results reach MLflow: runs, the registered version, and who becomes champion. `register` is the act."""
