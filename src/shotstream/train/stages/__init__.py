"""The stages of the training recipe, one module each, in the order of `train.recipe`."""
