"""Scores that compare models of a target domain without its labels, and distances between domains."""
