"""Backends run a network: encoded tensors in, logits out."""
