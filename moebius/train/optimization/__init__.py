"""Parts of a step that act on the model: optimizers, averaged weights, recomputed activations, devices."""
