"""Score what a model makes: trait accuracy, cuts, walks, denoising errors, with confidence intervals."""
