"""Compare the installed engine with recorded tensors and with the published code."""
