"""Shared parts of the callbacks that write pictures."""
