"""A torch module of Norse, snnTorch, SpikingJelly or sinabs as a NIR graph, proved against its own forward pass."""
