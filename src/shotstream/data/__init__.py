"""From videos and scripts to cached latents and text embeddings."""
