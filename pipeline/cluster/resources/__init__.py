"""Resources that workers need from the cluster: a GPU, free room, and weights that every node can fetch."""
