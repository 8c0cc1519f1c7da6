"""Read and write what people have: sound, pictures, video, terminals."""
