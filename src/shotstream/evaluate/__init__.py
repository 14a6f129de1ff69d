"""Verification against golden tensors, benchmarks, metrics."""
