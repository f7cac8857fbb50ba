"""What anyone would try first: other ways from the same fitted head to an albedo map. They learn nothing of the photo's
light from our networks, but get our tone where they need one."""

import torch
from torch import Tensor

from ..conventions import REFLECTANCE, Domain, linear_to_srgb, srgb_to_linear
from ..geometry.camera import capture_cameras
from ..geometry.texture import fill_holes
from ..head.atlas import HeadAtlas
from ..head.fit import FittedHead
from ..head.model import HeadModel
from ..packs import Pack
from ..stitch import stitch_views
from ..templates import Template, choose_template
from .fitted import Fitted

LEAST_TRUST = 0.1  # texels that the photo shows worse are filled
MIRRORED = 0.5  # how much a mirrored texel counts against the smooth filling
MEAN_OF = 24  # templates, evenly over the pack
LEAST_SHADING = 0.25  # of the mean: darker shading is not divided by


def projection(fitted: Fitted) -> Tensor:
    """The photo's own pixels on the head, light and all; what it does not show is mirrored and filled smoothly."""
    return completed(fitted.observed.linear, fitted.observed.trust)


def sh_divided(fitted: Fitted) -> Tensor:
    """The projection divided by shading in nine spherical harmonics (Ramamoorthi & Hanrahan 2001).

    The shading is fitted by least squares to face and neck, as if their albedo were one tone: our own estimate of it.
    """
    atlas, observed = fitted.atlas, fitted.observed
    normal = atlas.normals_of(fitted.head.fine_vertices())
    basis = harmonics(normal.flatten(1).T)  # [T * T, 9]
    of_skin = torch.maximum(atlas.region("face"), atlas.region("neck"))
    plain = observed.trust * of_skin * (1 - atlas.features)
    use = plain.flatten() > 0.5
    tone = fitted.tone
    lit = observed.linear.flatten(1).T[use] / tone
    coefficients = torch.linalg.lstsq(basis[use], lit).solution
    shading = (basis @ coefficients).T.unflatten(1, (atlas.size, atlas.size))
    least = LEAST_SHADING * shading.flatten(1)[:, use].mean(1)
    albedo = observed.linear / torch.maximum(shading, least[:, None, None])
    return completed(albedo, observed.trust)


def mean_albedo(fitted: Fitted) -> Tensor:
    """The mean of the pack's templates, scaled to our estimate of the person's tone."""
    mean = srgb_to_linear(fitted.mean_diffuse_srgb)
    atlas = fitted.atlas
    plain = atlas.region("face") * (1 - atlas.features) * atlas.mask
    return _srgb(mean * (fitted.tone / ((mean * plain).sum((1, 2)) / plain.sum()))[:, None, None])


def nearest_template(fitted: Fitted) -> Tensor:
    """The nearest template as it is, without a swap."""
    template = choose_template(fitted.pack, fitted.identity)
    return stitch_views(
        decode_template(template, fitted.pack), fitted.head, fitted.atlas, fitted.pack.preset.sides
    ).images[Domain.DIFFUSE]


BASELINES = {
    "projection": projection,
    "projection / SH": sh_divided,
    "mean albedo, tone matched": mean_albedo,
    "nearest template": nearest_template,
}


def harmonics(direction: Tensor) -> Tensor:
    """The nine real spherical harmonics up to order 2, without their constants, [P, 3] unit -> [P, 9]."""
    x, y, z = direction.unbind(1)
    return torch.stack([torch.ones_like(x), x, y, z, x * y, y * z, z * x, x * x - y * y, 3 * z * z - 1], 1)


def decode_template(template: Template, pack: Pack) -> dict[Domain, Tensor]:
    """The views of a template without anyone swapped in, [V = 3, 3, H, W] a domain, as `swap_identity` gives them."""
    domains = list(Domain)
    decoded = {}
    with torch.inference_mode():
        for place, domain in enumerate(REFLECTANCE):
            labels = torch.full((len(template.codes),), domains.index(domain), device=pack.device)
            latent = pack.nets.codebooks.look_up(template.codes[:, place], labels)
            decoded[domain] = pack.nets.decoder(latent).float().mul(0.5).add(0.5).clamp(0, 1).clone()
    return decoded


def mean_template(pack: Pack, model: HeadModel, atlas: HeadAtlas) -> Tensor:
    """The mean diffuse map [3, T, T] sRGB of a pack's templates, averaged in linear light and stitched once."""
    total, count = None, len(pack.templates.names)
    chosen = range(0, count, max(1, count // MEAN_OF))
    for index in chosen:
        views = decode_template(pack.templates[index], pack)
        linear = {
            domain: srgb_to_linear(image) if domain is Domain.DIFFUSE else image for domain, image in views.items()
        }
        total = linear if total is None else {domain: total[domain] + linear[domain] for domain in total}
    mean = {domain: image / len(chosen) for domain, image in total.items()}
    mean[Domain.DIFFUSE] = linear_to_srgb(mean[Domain.DIFFUSE]).clamp(0, 1)
    camera = capture_cameras(pack.preset.size, pack.device)[0]
    nobody = torch.zeros(1, device=pack.device)
    head = FittedHead(model, camera, model.neutral, model.neutral, nobody, nobody, 0.0)
    return stitch_views(mean, head, atlas, pack.preset.sides).images[Domain.DIFFUSE]


def completed(linear: Tensor, trust: Tensor) -> Tensor:
    """A linear image [3, T, T] as sRGB; where the photo does not show the skin it is half mirrored, half smooth."""
    seen = (trust > LEAST_TRUST) * trust
    other = (1 - seen) * seen.flip(-1) * MIRRORED
    both = (linear * seen + linear.flip(-1) * other) / (seen + other).clamp(min=1e-4)
    return _srgb(fill_holes(both[None], (seen + other).clamp(max=1)[None, None])[0])


def _srgb(linear: Tensor) -> Tensor:
    return linear_to_srgb(linear).clamp(0, 1)
