"""Training on the pipeline's sources: a stream of crops, in one process or in the workers of Ray Train."""
