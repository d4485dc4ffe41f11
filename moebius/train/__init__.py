"""Training: the teacher, the losses, the data and the loop. Plain PyTorch; ``pipeline/training.py`` adds Ray Train."""
