"""The exceptions of the house. Every error that a user can cause is an `Id2rError`."""

import sys

OUT_OF_MEMORY = ("MemoryError", "OutOfMemoryError")  # Python's, NumPy's and PyTorch's, by name: this file imports none
# PyTorch's on the CPU and OpenCV's have no type of their own.
OUT_OF_MEMORY_WORDS = ("DefaultCPUAllocator", "Insufficient memory")


class Id2rError(Exception):
    """A failure that the user can act on.

    message: one sentence that names the input and what was found.
    hint: one sentence that says what to do about it.
    """

    def __init__(self, message: str, hint: str):
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}"


class NoFace(Id2rError):
    """A picture or a mesh shows no face, or none that is large enough."""


class Cancelled(Exception):
    """Raised from a progress callback to stop a job; nothing half-written stays under a final name."""


def unforeseen(error: Exception) -> tuple[str, str]:
    """Message and hint for a failure that nobody foresaw, or that memory was not enough."""
    is_memory = any(kind.__name__.endswith(OUT_OF_MEMORY) for kind in type(error).__mro__)
    if is_memory or any(words in str(error) for words in OUT_OF_MEMORY_WORDS):
        hint = (
            "Choose a lower resolution, close other programs, use the CPU, or raise the memory limit if there is one."
        )
        return "The memory was not enough.", hint
    if isinstance(error, ModuleNotFoundError):
        hint = (
            "Install PyTorch in the add-on's preferences, or choose a Python there that has it; in a shell, use that of "
            ".venv. Check Installation, or the command doctor, says what is missing."
        )
        return f"This Python has no '{error.name}' ({sys.executable}).", hint
    if isinstance(error, OSError) and error.filename:
        hint = "Check that the place is there, that you may read and write it, and that the disk is not full."
        return f"'{error.filename}': {error.strerror}.", hint
    return f"Something unforeseen happened: {type(error).__name__}: {error}.", "Please report it with the text above."
