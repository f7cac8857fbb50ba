"""Measuring results (`cli` is the door). Nothing here takes part in training or at run time."""
