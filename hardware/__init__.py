"""Any NIR graph on a neuromorphic chip: quantise, retime, partition, simulate in integers, price."""
