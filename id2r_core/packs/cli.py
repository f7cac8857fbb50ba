"""`python -m id2r_core pack list | verify | info | export`."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from . import CARD, FOLDER, pack_folder, pack_names, verify_pack


def main(arguments: Sequence[str]) -> int:
    """Run one pack command; returns the exit code."""
    options = _parser().parse_args(arguments)
    return options.run(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m id2r_core pack", description="Weight packs.")
    commands = parser.add_subparsers(required=True)
    commands.add_parser("list", help="names of the packs that come with the program").set_defaults(run=_list)
    for run, text in ((_verify, "check the hash of every file"), (_info, "show the model card")):
        command = commands.add_parser(run.__name__[1:], help=text)
        command.add_argument("pack", help="name or folder of the pack")
        command.set_defaults(run=run)
    command = commands.add_parser("export", help="make a pack from a finished training run")
    command.add_argument("run_dir", type=Path, help="the --out of the training run")
    command.add_argument("--preset", default="tiny")
    command.add_argument("--to", type=Path, help="folder of the new pack (default: beside the shipped ones)")
    command.add_argument(
        "--data", type=Path, help="training data or bundle (needed when the run kept its pool in memory)"
    )
    command.add_argument("--device", default="cpu", help="auto, cpu, cuda or mps")
    command.set_defaults(run=_export)
    return parser


def _list(options: argparse.Namespace) -> int:
    print("\n".join(pack_names()))
    return 0


def _verify(options: argparse.Namespace) -> int:
    manifest = verify_pack(pack_folder(options.pack))
    print(f"{manifest['name']}: all {len(manifest['files'])} files are as published.")
    return 0


def _info(options: argparse.Namespace) -> int:
    print((pack_folder(options.pack) / CARD).read_text(encoding="utf-8"))
    return 0


def _export(options: argparse.Namespace) -> int:
    from ..device import choose_device
    from ..train.export import export_pack

    folder = options.to or FOLDER / options.preset
    export_pack(options.run_dir, options.preset, folder, options.data, choose_device(options.device))
    print(f"The pack is in {folder}.")
    return 0
