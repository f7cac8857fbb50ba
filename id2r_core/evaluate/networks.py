"""The networks of a pack one by one, on the held-out subjects of a training run: codebooks, identity encoder, swapper.

All subjects are virtual and were never trained on; their photographs and views come from the capture stage, so that
every figure has a true answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from ..conventions import REFLECTANCE, Domain, linear_to_srgb
from ..errors import Id2rError
from ..facemesh import SURFACE_COUNT
from ..geometry.camera import capture_cameras
from ..landmarks import detect_face
from ..nets import Nets
from ..nets.identity_encoder import face_window
from ..photo import Photo
from ..templates import TemplateLibrary
from ..train import augment, pictures
from ..train.figures import FIELD, joint_figures, reconstruction_figures, swapped, without_levels
from ..train.loop import Task
from ..train.pool import VIEWS, Pool, validation_pool
from ..train.portraits import prepare_portraits
from . import figures
from .context import Context
from .metrics import head_rotation, id_retrieval, pose_difference, psnr, ssim
from .report import Report, Table, mean

# Self-reconstruction of the paper, dB: one joint codebook, and one a domain.
PAPER_CODEBOOKS = {
    Domain.DIFFUSE: (24.87, 31.62),
    Domain.SPECULAR: (20.95, 30.96),
    Domain.ROUGHNESS: (21.31, 31.59),
    Domain.NORMAL: (20.56, 30.32),
}
# Its swap against the truth, dB: fixed and closest template.
PAPER_SWAP = {
    Domain.DIFFUSE: (25.26, 28.47),
    Domain.SPECULAR: (26.44, 26.68),
    Domain.ROUGHNESS: (29.56, 30.32),
    Domain.NORMAL: (25.77, 26.83),
}
FALSE_ACCEPTS = 1e-3
PAPER_SIDE = 512  # pixels
DRAWN_CODES = 40  # latent pixels of each view in the picture of z_q
PROBE_SEED = 5
DETECTED_SIDE, ROOM = 512, 0.15  # pixels that a view is enlarged to for the landmark detector, and room round it


@dataclass(frozen=True)
class HeldOut:
    """The pack under test and the people of `--run` that it never saw."""

    context: Context

    @cached_property
    def task(self) -> Task:
        if self.context.run is None:
            raise Id2rError("This evaluation needs the folder of a training run.", "Name it with --run.")
        pack = self.context.estimator.pack
        return Task(pack.preset, self.context.data, self.context.run, device=pack.device)

    @cached_property
    def pool(self) -> Pool:
        return validation_pool(self.task)

    @property
    def nets(self) -> Nets:
        return self.context.estimator.pack.nets

    @property
    def library(self) -> TemplateLibrary:
        return self.context.estimator.pack.templates

    @property
    def device(self) -> torch.device:
        return self.context.estimator.pack.device

    def describe(self) -> str:
        subjects, size = self.pool.count(), self.task.preset.size
        return (
            f"{subjects} virtual people that training never saw, {self.pool.shots} photographs each by the capture "
            f"stage, views on the mean head at {size} px (validation split, seed {self.task.seed})."
        )


def evaluate_codebooks(context: Context) -> Report:
    """Self-reconstruction: one joint codebook (stage 1 of the run) against one a domain, and all of them fused."""
    held = HeldOut(context)
    joint = joint_figures(held.task, held.pool)
    multi = reconstruction_figures(held.nets, held.pool, held.device)
    rows = []
    for domain in Domain:
        one, own, books = joint[domain], multi[domain], held.nets.codebooks
        alive = float((books[domain].usage > 0.05).float().mean())
        rows.append([
            domain.value, one["psnr"], own["psnr"], own["psnr"] - one["psnr"], own["psnr_fused"], one["colour_error"],
            own["colour_error"], one["detail"], own["detail"], 100 * alive, own["codes_used"],
            *PAPER_CODEBOOKS.get(domain, (None, None)),
        ])  # fmt: skip
    columns = [
        ("domain", None), ("joint, dB", 2), ("own codebook, dB", 2), ("difference", 2), ("fused, dB", 2),
        ("colour error joint", 1), ("own", 1), ("detail joint", 2), ("own detail", 2), ("codes alive, %", 0),
        ("codes met", 0), ("paper joint", 2), ("paper own", 2),
    ]  # fmt: skip
    figures.save_picture(context.out / "codebooks_fusion.jpg", pictures.fusion_sheet(held.nets, held.pool, held.device))
    drawn = ["codebooks_fusion.jpg", *_draw_codes(context, held)]
    note = (
        "PSNR over the head. Colour error: of the mean colour of an image, 0..255. Detail: energy above 1/8 of the "
        "Nyquist frequency against the truth's. Joint is stage 1 of the same run as it was left; where it was trained "
        "for fewer steps than stage 2, the difference is one of training too. Paper: its own captures at 512."
    )
    return Report(
        "codebooks", "Codebooks", held.describe(), [Table("Self-reconstruction", columns, rows, note)], figures=drawn
    )


def evaluate_recognition(context: Context) -> Report:
    """Rank-1 and TAR at FAR 1e-3 of the pack's encoder and, beside it, of the judge."""
    held = HeldOut(context)
    subject = torch.arange(held.pool.count()).repeat_interleave(held.pool.shots)
    shot = torch.arange(held.pool.shots).repeat(held.pool.count())
    photos = held.pool.photograph_images(subject, shot).cpu()
    portraits = prepare_portraits(held.task.preset, context.data, context.run).split("test")
    real = portraits.pick(torch.arange(len(portraits)))
    both = torch.cat((real, _other_photograph(real)))
    people = torch.arange(len(portraits)).repeat(2)
    rows = []
    for name, embed in _recognisers(context, held).items():
        rows.append([f"{name}, virtual", len(photos), *_recognised(embed(photos), subject)])
        rows.append([f"{name}, portraits", len(both), *_recognised(embed(both), people)])
    columns = [("recogniser", None), ("photographs", 0), ("rank-1", 3), ("TAR at FAR 1e-3", 3), ("highest stranger", 3)]
    note = (
        "Virtual: random pose, light and expression; the nearest other photograph is of the same person. Portraits: of "
        "the test split, there is one a person, so its partner is the same portrait under heavy augmentation. "
        f"The judge is {context.judge_name}."
        if context.estimator.judge
        else "No judge was given."
    )
    drawn = _draw_people(context, held, _recognisers(context, held)["pack"](photos), subject)
    return Report(
        "recognition",
        "Identity encoder",
        held.describe() + f" {len(portraits)} portraits of the test split.",
        [Table("Recognition", columns, rows, note)],
        figures=drawn,
    )


def evaluate_swapper(context: Context) -> Report:
    """Swap against the truth, injection levels, smoothness, and the sheets."""
    held = HeldOut(context)
    tables = [_truth_table(context, held), _levels_table(context, held), _geometry_table(context, held)]
    strip, jump = pictures.interpolation_strip(held.nets, held.library, held.pool, held.device)
    sheets = {
        "swapper_interpolation.jpg": strip,
        "swapper_domains.jpg": pictures.cross_domain_sheet(held.nets, held.library, held.pool, held.device),
        "swapper_templates.jpg": pictures.template_sheet(held.nets, held.library, held.device),
    }
    for name, picture in sheets.items():
        figures.save_picture(context.out / name, picture)
    smooth = (
        f"Interpolation between two people in seven steps: the largest change from picture to picture is {jump:.2f} "
        "times the mean one (1 is even)."
    )
    return Report("swapper", "Identity swapper", held.describe(), tables, notes=[smooth], figures=list(sheets))


def _truth_table(context: Context, held: HeldOut) -> Table:
    rows = []
    scores = {kind: {domain: ([], []) for domain in REFLECTANCE} for kind in ("fixed", "closest")}
    for one in range(held.pool.count()):
        context.progress("swap", one, held.pool.count())
        found = _embedded(held, one)
        nearest = int(held.library.distances(found.vector, found.tone_linear).argmin())
        for domain in REFLECTANCE:
            truth = _views(held, one, domain)
            mask = _views(held, one, Domain.SPECULAR).mean(-1) > 0
            for kind, template in (("fixed", 0), ("closest", nearest)):
                made = _to_numpy(
                    swapped(held.nets, held.nets.swapper, held.library, template, found, domain, held.device)
                )
                for image, true, where in zip(made, truth, mask, strict=True):
                    scores[kind][domain][0].append(psnr(image, true, where))
                    scores[kind][domain][1].append(ssim(image, true, where))
    for domain in REFLECTANCE:
        values = [mean(part) for kind in ("fixed", "closest") for part in scores[kind][domain]]
        rows.append([domain.value, *values, *PAPER_SWAP[domain]])
    columns = [
        ("domain", None), ("fixed, dB", 2), ("SSIM", 3), ("closest, dB", 2), ("SSIM ", 3), ("paper fixed", 2),
        ("paper closest", 2),
    ]  # fmt: skip
    note = (
        "One photograph of each person, swapped into a template, against the true views of that person's skin on the "
        "mean head, over the head. Paper: its own captures at 512."
    )
    return Table("Swap against the truth", columns, rows, note)


def _levels_table(context: Context, held: HeldOut) -> Table:
    """Each level left out, and levels from coarse to fine; all at inference, with one and the same training."""
    sides = list(held.nets.swapper.levels)
    last = [FIELD] if held.nets.swapper.field else []
    sets = {f"F{side} alone" if at == 0 else f"+ F{side}": sides[at + 1 :] + last for at, side in enumerate(sides)}
    sets |= {"+ field (all)": []} if last else {}
    sets |= {f"all but {side}": [side] for side in (*sides, *last)} | {"none": sides + last}
    rows = []
    for name, without in sets.items():
        swapper = without_levels(held.nets.swapper, without)
        fronts, quality = [], {domain: [] for domain in REFLECTANCE}
        for one in range(held.pool.count()):
            context.progress(name, one, held.pool.count())
            found = _embedded(held, one)
            template = int(held.library.distances(found.vector, found.tone_linear).argmin())
            for domain in REFLECTANCE if one % _stride(range(held.pool.count())) == 0 else (Domain.DIFFUSE,):
                made = _to_numpy(swapped(held.nets, swapper, held.library, template, found, domain, held.device))
                truth, mask = _views(held, one, domain), _views(held, one, Domain.SPECULAR).mean(-1) > 0
                quality[domain] += [psnr(*each) for each in zip(made, truth, mask, strict=True)]
                if domain is Domain.DIFFUSE:
                    fronts.append((made[0], template))
        rows.append([name, *(mean(values) for values in quality.values()), *_retrieval(context, held, fronts)])
    columns = [
        ("injected", None), *((f"{domain.value}, dB", 2) for domain in REFLECTANCE), ("ID-Retrieval", 3),
        ("pose, radians", 4),
    ]  # fmt: skip
    note = (
        "Levels are left out at inference, of one training; the paper trained each row (ID-Retrieval 0.894 with F16 and "
        "F32, 0.941 with F64, 0.965 with F128; pose 0.0143, 0.0132, 0.0129). ID-Retrieval of the diffuse front view "
        f"among the {held.pool.count()} people's own true diffuse views, by {context.judge_name}; pose against the "
        "template as it is kept. Pose, and PSNR of all domains but diffuse, on about twelve of them."
    )
    return Table("Injection levels, closest template", columns, rows, note)


def _geometry_table(context: Context, held: HeldOut) -> Table:
    """Landmarks found in front views against those of the head that they are stitched onto."""
    model, size = context.estimator.model, held.task.preset.size
    surface = model.landmarks(model.subdivide(model.neutral[None]))[0]
    border = round(ROOM * size)
    wanted = capture_cameras(size)[0].project(surface.cpu())[0, :, :2].numpy() + border  # in the image with room
    wanted = wanted[:SURFACE_COUNT] * (DETECTED_SIDE / (size + 2 * border))
    to_512 = PAPER_SIDE / size * (size + 2 * border) / DETECTED_SIDE
    distances = {"swapped, closest template": [], "true view of the same person": []}
    for one in range(0, held.pool.count(), _stride(range(held.pool.count()))):
        found = _embedded(held, one)
        template = int(held.library.distances(found.vector, found.tone_linear).argmin())
        made = swapped(held.nets, held.nets.swapper, held.library, template, found, Domain.DIFFUSE, held.device)
        for kind, image in zip(distances, (_to_numpy(made)[0], _views(held, one, Domain.DIFFUSE)[0]), strict=True):
            try:
                points = detect_face(_with_room(image)).points[:SURFACE_COUNT]
            except Id2rError:
                continue
            distances[kind].append(float(np.linalg.norm(points - wanted, axis=1).mean()) * to_512)
    rows = [[kind, len(values), mean(values)] for kind, values in distances.items()]
    columns = [("front view", None), ("people", 0), ("mean landmark distance, px at 512", 2)]
    note = "The second row is what the detector itself misses by: those views are rendered from that very head."
    return Table("Agreement with the head under the views", columns, rows, note)


def _retrieval(context: Context, held: HeldOut, fronts: Sequence[tuple[np.ndarray, int]]) -> tuple[float, float | None]:
    """ID-Retrieval of front views [S, S, 3] in the order of the subjects, and the mean turn from their templates."""
    embed = list(_recognisers(context, held).values())[-1]
    truth = torch.cat([_front(held, one) for one in range(len(fronts))])
    made = torch.from_numpy(np.stack([image for image, _ in fronts])).permute(0, 3, 1, 2) * 2 - 1
    hits = id_retrieval(embed(made).numpy(), embed(truth).numpy(), np.arange(len(fronts)))
    turns = [_turn(context, image, _template_front(held, template)) for image, template in fronts[:: _stride(fronts)]]
    return hits, mean(turns)


def _stride(fronts: Sequence) -> int:
    """What takes long is measured on about twelve people, evenly chosen."""
    return max(1, len(fronts) // 12)


def _turn(context: Context, image: np.ndarray, other: np.ndarray) -> float | None:
    model = context.estimator.model
    surface = model.landmarks(model.subdivide(model.neutral[None]))[0].numpy(force=True)
    try:
        points = [detect_face(_with_room(each)).points for each in (image, other)]
    except Id2rError:
        return None
    return pose_difference(*(head_rotation(each, surface, DETECTED_SIDE) for each in points))


def _with_room(image: np.ndarray) -> Photo:
    border = round(ROOM * image.shape[0])
    padded = np.pad(image, ((border, border), (border, border), (0, 0)))
    return Photo(figures.fit_square(padded, DETECTED_SIDE).clip(0, 1), "view")


def _template_front(held: HeldOut, template: int) -> np.ndarray:
    codes = held.library.codes[template, :1, REFLECTANCE.index(Domain.DIFFUSE)].to(held.device)
    return _to_numpy(held.nets.decoder(held.nets.codebooks[Domain.DIFFUSE].look_up(codes)))[0]


def _recognisers(context: Context, held: HeldOut) -> dict:
    """name -> images [B, 3, S, S] in [-1, 1], aligned crops, to unit vectors [B, D]; the judge last, if there is one."""

    def by_pack(images: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return torch.cat([held.nets.identity(part.to(held.device)).vector.cpu() for part in images.split(16)])

    def by_judge(images: torch.Tensor) -> torch.Tensor:
        windows = face_window(images).permute(0, 2, 3, 1).mul(0.5).add(0.5).clamp(0, 1).numpy()
        return torch.from_numpy(np.stack([context.estimator.judge.embed_aligned(window) for window in windows]))

    return {"pack": by_pack} | ({"judge": by_judge} if context.estimator.judge else {})


def _recognised(vector: torch.Tensor, person: torch.Tensor) -> tuple[float, float, float]:
    """Rank-1, TAR at FAR 1e-3 and the highest cosine of two people, of vectors [N, D] and who they are [N]."""
    cosine = vector @ vector.T
    is_same, itself = person[:, None] == person[None], torch.eye(len(person), dtype=torch.bool)
    nearest = cosine.masked_fill(itself, -2.0).argmax(1)
    threshold = torch.quantile(cosine[~is_same], 1.0 - FALSE_ACCEPTS)
    rank1 = float((person[nearest] == person).float().mean())
    return rank1, float((cosine[is_same & ~itself] > threshold).float().mean()), float(cosine[~is_same].max())


def _other_photograph(portraits: torch.Tensor) -> torch.Tensor:
    """Portraits [B, 3, S, S] in other light, from a worse camera, in an alignment of its own."""
    generator = torch.Generator().manual_seed(PROBE_SEED)
    torch.manual_seed(PROBE_SEED)
    moved = augment.jitter_place(augment.mirror(portraits, generator), generator)
    return augment.degrade(augment.jitter_colour(moved, generator), generator)


def _draw_codes(context: Context, held: HeldOut) -> list[str]:
    """t-SNE of z_q: latent pixels of views of every domain, in the domain's colour."""
    points, domains = [], []
    generator = torch.Generator().manual_seed(0)
    for index in range(len(Domain)):
        subject = torch.arange(min(8, held.pool.count()))
        images = held.pool.view_images(subject, torch.full_like(subject, index), torch.zeros_like(subject))
        with torch.inference_mode():
            latent = held.nets.codebooks.quantise(
                held.nets.encoder(images.to(held.device)), torch.full_like(subject, index)
            )
        flat = latent.latent.permute(0, 2, 3, 1).flatten(0, 2).cpu()
        chosen = torch.randperm(len(flat), generator=generator)[: DRAWN_CODES * len(subject)]
        points.append(flat[chosen].float())
        domains += [index] * len(chosen)
    names = [domain.value for domain in Domain]
    return _draw_tsne(context, "codebooks_codes.png", torch.cat(points).numpy(), np.array(domains), names)


def _draw_people(context: Context, held: HeldOut, vector: torch.Tensor, subject: torch.Tensor) -> list[str]:
    """t-SNE of identity vectors, coloured by the darkness of the person's skin in six steps."""
    tone = linear_to_srgb(held.pool.tones(subject)).mean(1)
    step = torch.bucketize(tone, torch.quantile(tone, torch.linspace(0, 1, 7)[1:-1]))
    names = ["darkest sixth", "2", "3", "4", "5", "lightest sixth"]
    return _draw_tsne(context, "recognition_people.png", vector.numpy(), step.numpy(), names)


def _draw_tsne(context: Context, name: str, points: np.ndarray, group: np.ndarray, names: Sequence[str]) -> list[str]:
    """A scatter plot (van der Maaten & Hinton 2008); none where scikit-learn is not installed."""
    try:
        from sklearn.manifold import TSNE
    except ImportError:
        return []
    flat = TSNE(2, init="pca", random_state=0, perplexity=min(30.0, (len(points) - 1) / 3)).fit_transform(points)
    figures.scatter(context.out / name, flat, group, names)
    return [name]


@torch.no_grad()
def _embedded(held: HeldOut, subject: int):
    photo = held.pool.photograph_images(torch.tensor([subject]), torch.tensor([0]))
    return held.nets.identity(photo.to(held.device))


def _front(held: HeldOut, subject: int) -> torch.Tensor:
    zero = torch.tensor([0])
    return held.pool.view_images(
        torch.tensor([subject]), torch.tensor([list(Domain).index(Domain.DIFFUSE)]), zero
    ).cpu()


def _views(held: HeldOut, subject: int, domain: Domain) -> np.ndarray:
    """[V, S, S, 3] in [0, 1]."""
    rows = torch.full((VIEWS,), subject)
    return _to_numpy(held.pool.view_images(rows, torch.full((VIEWS,), list(Domain).index(domain)), torch.arange(VIEWS)))


def _to_numpy(images: torch.Tensor) -> np.ndarray:
    """[B, 3, S, S] in [-1, 1] -> [B, S, S, 3] in [0, 1]."""
    return images.detach().float().mul(0.5).add(0.5).clamp(0, 1).permute(0, 2, 3, 1).numpy(force=True)
