"""Counts of what each core did, and their energy and latency."""
