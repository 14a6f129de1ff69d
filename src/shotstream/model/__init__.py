"""The networks and their state: schedule, rotary, cache, transformer, codecs, text, weights."""
