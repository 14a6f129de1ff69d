"""Make, serve and report a blind user study of several systems' videos of the same scripts."""
