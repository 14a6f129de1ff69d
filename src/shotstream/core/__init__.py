"""Sizes, types, noise, media, errors: what everything else stands on."""
