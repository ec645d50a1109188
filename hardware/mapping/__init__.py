"""A `SpikingGraph` onto a chip: quantise, retime, partition."""
