"""Replays stored inputs and outputs of the published models and says how far ours are off."""
