"""What there is to know of a trained run beside its figures: gradients, parts, contributions."""
