"""The models that come with muspike, and their twins: what is trained, in a queue, and the tables about them.

Run from a checkout: `python -m muspike.bench.shipped --help`.
"""
