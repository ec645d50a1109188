"""One run of a program on spikes: inputs, outputs, agreement with the float network, reports."""
