"""`python -m id2r_core pack list | verify | info | export`."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from . import CARD, FOLDER, pack_folder, pack_names, read_manifest, verify_pack


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
    command.add_argument(
        "--identity", metavar="insightface:PATH", help="the identity model that the run was trained for"
    )
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
    folder = pack_folder(options.pack)
    manifest, sha256 = read_manifest(folder)
    size = sum(path.stat().st_size for path in folder.iterdir()) / 2**20
    print(f"{manifest['name']}: preset {manifest['preset']}, {len(manifest['templates'])} templates, {size:.1f} MiB")
    print(f"sha256 {sha256}")
    if "identity" in manifest:
        print(f"needs the identity model {manifest['identity']['file']}, sha256 {manifest['identity']['sha256']}")
    print("\n" + (folder / CARD).read_text(encoding="utf-8"))
    return 0


def _export(options: argparse.Namespace) -> int:
    from ..device import choose_device
    from ..nets.onnx_identity import identity_path
    from ..train.export import export_pack

    folder = options.to or FOLDER / options.preset
    device, identity = choose_device(options.device), identity_path(options.identity)
    export_pack(options.run_dir, options.preset, folder, options.data, device, identity)
    print(f"The pack is in {folder}.")
    return 0
