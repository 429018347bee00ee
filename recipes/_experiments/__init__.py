"""Shared parts of recipes that run another recipe many times: jobs, seeds, comparisons and their figures."""
