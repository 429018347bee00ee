"""Shift layers, nets that use them, and conversion of spatial convolutions."""
