"""Readers of the label and archive formats of public data sets."""
