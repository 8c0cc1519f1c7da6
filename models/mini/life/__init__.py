"""What makes a portrait look alive: blinks, gaze, brows, head and breath, moved by its speech."""
