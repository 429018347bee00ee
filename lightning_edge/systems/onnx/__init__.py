"""Export to ONNX, and running the exported graphs."""
