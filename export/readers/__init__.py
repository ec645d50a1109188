"""Tools that read NIR: what each of them executes, and the file that it executes as the network was meant."""
