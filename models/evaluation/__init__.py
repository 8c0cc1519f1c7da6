"""Evaluation: generated video against true video and speech, step plans, acceptance bars."""
