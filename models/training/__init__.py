"""Training of the bundled weights: autoencoder, blendshape regressor and denoiser."""
