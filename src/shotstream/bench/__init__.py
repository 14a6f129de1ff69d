"""Measure speed: time per part, FLOPs, and the roofline of the device."""
