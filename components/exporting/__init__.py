"""What leaves the factory: the graph, its files in ONNX and TorchScript, the proof that they agree, and a card."""
