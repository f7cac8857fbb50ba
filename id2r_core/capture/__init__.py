"""The virtual capture stage: people, skins and light that do not exist, with exact reflectance (`stage` is the door)."""

from .stage import CaptureStage, Photographs, Subjects

__all__ = ["CaptureStage", "Photographs", "Subjects"]
