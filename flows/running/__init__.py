"""The mechanics behind the flows: DVC's graph, child processes, locks and slots, and the edge to Prefect."""
