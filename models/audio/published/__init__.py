"""Speech features as the published models hear them."""
