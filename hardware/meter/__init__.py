"""What a computation takes on the machine at hand, in time and in joules: counters, windows, batches, records."""
