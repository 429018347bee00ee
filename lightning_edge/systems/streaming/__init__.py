"""Nets on a stream of frames: selection of key frames, and weights that follow the domain."""
