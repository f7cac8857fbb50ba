"""What is learnt by a command of its own, beside the stages of a run."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from ..errors import Id2rError


def run_alone(name: str, about: str, work: Callable[..., None], **counts: tuple[int, str]) -> int:
    """`python -m id2r_core.train.NAME DATA`: call work(data, **counts); returns the exit code.

    about: the first line of the help. counts: options that are whole numbers, each its default and its help.
    """
    parser = argparse.ArgumentParser(prog=f"python -m id2r_core.train.{name}", description=about)
    parser.add_argument("data", type=Path, metavar="DATA", help="the directory of training data")
    for option, (usual, meaning) in counts.items():
        parser.add_argument(f"--{option}", type=int, default=usual, help=f"{meaning} (default: %(default)s)")
    try:
        work(**vars(parser.parse_args()))
    except Id2rError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    return 0
