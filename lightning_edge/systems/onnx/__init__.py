"""Export nets to ONNX, and run the exported graphs."""
