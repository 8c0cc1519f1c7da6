"""Speech in, features for each video frame out; the same code offline and in a stream."""
