"""What a step does to a model: optimizers, averaged weights, recomputed activations, devices."""
