"""Parts of a Stable Diffusion 1.5 UNet, with the published parameter names, on folded frames."""
