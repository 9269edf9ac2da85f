"""Studies: params files laid over params.yaml, each run by the flow in a scratch clone; results go to docs/studies/."""
