"""Making video: denoise a chunk, roll out a shot, decode as it comes, stream a story."""
