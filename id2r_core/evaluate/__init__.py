"""Measuring results: likeness so far. Nothing here takes part in training or at run time."""
