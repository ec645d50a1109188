"""A `Program` run in integers: by its spikes, or by matrix products."""
