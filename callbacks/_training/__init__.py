"""Shared parts of the callbacks that observe a training."""
