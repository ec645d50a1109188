"""A NIR file or graph, read and checked into a `SpikingGraph`."""
