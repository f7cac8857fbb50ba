"""The exceptions of the house. Every error that a user can cause is an `Id2rError`."""


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
