"""Tasks by their mode: autoencoder, denoiser with or without a teacher, teacher."""
