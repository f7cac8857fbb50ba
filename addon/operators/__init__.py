"""The operators; each is a thin, scriptable shell around one module of the add-on."""

from . import export, landmarks, lookdev, reconstruct, reference, result, system

CLASSES = tuple(
    each for module in (reference, landmarks, reconstruct, result, lookdev, export, system) for each in module.CLASSES
)
