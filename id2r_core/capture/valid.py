"""The VALID avatars of the training data as capture folders, so that `capture import` treats them like anybody's scans.

python -m id2r_core capture valid --data DATA --out SCANS
python -m id2r_core capture import SCANS/* --out CAPTURES
"""

import argparse
import json
from pathlib import Path

import numpy as np

from ..errors import Id2rError
from ..files import fresh_folder
from .scan import DESCRIPTION

# Identities whose skins share one photograph: a group never crosses the splits. Those that the data's README names, and
# those whose fine detail correlates by more than 0.65 in the head tile at the same typology angle within 1.5 degrees.
GROUPS = (
    ("AIAN_F_1", "AIAN_F_2", "X_AIAN_F_1"), ("Asian_F_1", "Asian_F_2", "Asian_F_3"), ("Asian_M_1", "Asian_M_2"),
    ("Black_F_1", "Black_F_3"), ("Black_F_2", "Black_M_2"),
    ("Hispanic_F_1", "Hispanic_F_2", "Hispanic_F_3", "X_NHPI_F_1", "X_NHPI_F_2", "X_NHPI_F_3"),
    ("Hispanic_M_2", "Hispanic_M_1", "MENA_M_1", "MENA_M_2"), ("MENA_F_1", "MENA_F_2", "X_MENA_F_1"),
    ("NHPI_M_1", "X_NHPI_M_1"), ("White_F_1", "White_F_3"),
)  # fmt: skip
ADULT_YEARS = 35.0  # the avatars are young adults; their ages are not given
LICENCE = "MIT, VALID avatars, Copyright (c) 2022 Tiffany Do"
LEFT_OUT = ("gland_left", "gland_right")


def group_of(name: str) -> str:
    """The name that stands for an identity's group."""
    return next((group[0] for group in GROUPS if name in group), name)


def write_scans(data_dir: Path, out: Path) -> list[Path]:
    """One capture folder an avatar; returns them. Raises Id2rError when the avatars are not there."""
    source = Path(data_dir) / "valid"
    if not (source / "valid_heads.npz").is_file():
        raise Id2rError(f"'{data_dir}' holds no valid/valid_heads.npz.", "Give the directory of training data.")
    with np.load(source / "valid_heads.npz") as stored:
        heads = {name: stored[name] for name in ("ids", "mean", "offsets", "faces", "uv", "part", "part_names")}
    dropped = [list(heads["part_names"]).index(name) for name in LEFT_OUT]
    faces = heads["faces"][~np.isin(heads["part"][heads["faces"][:, 0]], dropped)]
    folders = []
    for name, offset in zip(heads["ids"].tolist(), heads["offsets"], strict=True):
        vertices = heads["mean"] + offset.astype(np.float32)
        with fresh_folder(out / name) as folder:
            _write_obj(folder / "head.obj", vertices, heads["uv"], faces)
            (folder / "diffuse.jpg").write_bytes((source / "albedo" / f"{name}.jpg").read_bytes())
            (folder / DESCRIPTION).write_text(json.dumps(_description(name), indent=1) + "\n", encoding="utf-8")
        folders.append(out / name)
    return folders


def _description(name: str) -> dict:
    return {
        "name": name,
        "group": group_of(name),
        "licence": LICENCE,
        "unit": "cm",
        "sex": "female" if "_F_" in name else "male",
        "age": ADULT_YEARS,
        "mesh": "head.obj",
        # The normal maps are nearly flat and their green channels disagree, so they are left out.
        "maps": {"diffuse": {"file": "diffuse.jpg", "colour_space": "sRGB"}},
    }


def _write_obj(path: Path, vertices: np.ndarray, uv: np.ndarray, faces: np.ndarray) -> None:
    lines = [f"v {x:.5f} {y:.5f} {z:.5f}" for x, y, z in vertices.tolist()]
    lines += [f"vt {u:.6f} {v:.6f}" for u, v in uv.tolist()]
    lines += ["f " + " ".join(f"{i + 1}/{i + 1}" for i in face) for face in faces.tolist()]
    path.write_text("\n".join(lines) + "\n", encoding="ascii")


def main(argv: list[str]) -> int:
    """`capture valid --data DATA --out SCANS`."""
    parser = argparse.ArgumentParser(prog="id2r_core capture valid", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the directory of training data")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args(argv)
    print(f"{len(write_scans(given.data, given.out))} capture folders in {given.out}.")
    return 0
