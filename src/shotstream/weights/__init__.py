"""Read, check, convert and write files of model weights."""
