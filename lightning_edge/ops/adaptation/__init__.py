"""Losses of deep domain adaptation as pure functions on tensors."""
