"""`python -m id2r_core capture NAME ...`: the sub-commands of the capture stage."""

from collections.abc import Callable, Sequence
from importlib import import_module

from ..errors import Id2rError

# Command -> the module whose `main` it is.
COMMANDS = {
    "bundle": "bundle",
    "preview": "preview",
    "validation": "validation",
    "import": "importing",
    "valid": "valid",
    "shapes": "shapes",
}


def main(arguments: Sequence[str]) -> int:
    """Run one sub-command. Raises Id2rError when none of that name exists."""
    if not arguments or arguments[0] not in COMMANDS:
        named = f"there is no '{arguments[0]}'" if arguments else "none was named"
        raise Id2rError(
            f"The capture command needs to know what to do: {named}.", f"Use one of: {', '.join(COMMANDS)}."
        )
    run: Callable[[list[str]], int] = import_module(f".{COMMANDS[arguments[0]]}", __package__).main
    return run(list(arguments[1:]))
