"""Thumbnails of a pack's templates, decoded from their codes, for the artist to choose one by eye."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from .conventions import REFLECTANCE, Domain
from .device import choose_device
from .files import all_or_nothing, write_image
from .packs import Pack, load_pack
from .protocol import TEMPLATE_ORDER, TemplatesRequest

THUMBNAIL = 96  # side, pixels
FRONT = 0  # view
BATCH = 8


def write_thumbnails(request: TemplatesRequest, progress: Callable[[str, int, int], None]) -> dict:
    """Write `<template>.png`, the diffuse front view of every template, and TEMPLATE_ORDER into `request.out`.

    Raises Id2rError when there is no such pack.
    """
    pack = load_pack(request.pack, choose_device(request.device))
    names, codes = pack.templates.names, pack.templates.codes[:, FRONT, REFLECTANCE.index(Domain.DIFFUSE)]
    light = pack.templates.tones_linear.sum(-1).argsort(descending=True).tolist()
    with all_or_nothing(Path(request.out)) as out:
        for start in range(0, len(names), BATCH):
            progress("templates", start, len(names))
            images = decode(pack, codes[start : start + BATCH])
            for name, image in zip(names[start : start + BATCH], images, strict=True):
                write_image(out / f"{name}.png", image)
        (out / TEMPLATE_ORDER).write_text(json.dumps([names[index] for index in light]), encoding="utf-8")
        progress("templates", len(names), len(names))
    return {"templates": len(names)}


def decode(pack: Pack, codes: torch.Tensor) -> np.ndarray:
    """Codes [B, h, w] of diffuse images as pictures [B, THUMBNAIL, THUMBNAIL, 3], sRGB, uint8."""
    domain = torch.full((len(codes),), list(Domain).index(Domain.DIFFUSE), device=pack.device)
    with torch.inference_mode():
        images = pack.nets.decoder(pack.nets.codebooks.look_up(codes, domain)).float()
    small = functional.interpolate(images, (THUMBNAIL, THUMBNAIL), mode="bilinear", antialias=True)
    return (small.mul(0.5).add(0.5).clamp(0, 1) * 255 + 0.5).byte().permute(0, 2, 3, 1).cpu().numpy()
