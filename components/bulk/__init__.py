"""Scoring of more records than memory holds: where they lie, what is done with a piece of them, and what is left.

Nothing here imports torch: a registered scorer.onnx and onnxruntime are all that it takes.
"""
