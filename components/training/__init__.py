"""One trainer for all models: the loop, its schedule, its precision, its checkpoints and the weights it leaves."""
