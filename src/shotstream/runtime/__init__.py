"""Prepare an opened model for a device: compiled blocks, CUDA graphs, 8-bit arithmetic."""
