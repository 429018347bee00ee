"""Shift layers, nets of them, and conversion of depthwise convolutions."""
