"""Stage `tone`: the tone branch of the identity encoder once more, on photographs of many more people.

Not part of `all`. Who somebody is can be learnt from some hundred people; how dark their skin is, under a light and an
exposure that nobody knows, takes thousands. All else in the encoder stays as it is, and so does the identity space.
"""

from ..nets.identity_encoder import IdentityEncoder
from .identity import draw_batch, tone_error
from .loop import Loop, Task, load_trained
from .pool import growing_pool
from .portraits import prepare_portraits


def train_tone(task: Task) -> Loop:
    weights = task.preset.losses
    portraits = prepare_portraits(task.preset, task.data, task.out, task.report).split("train").to(task.device)
    encoder = IdentityEncoder(task.preset)
    load_trained(task, "identity", {"identity": encoder})
    for module in encoder.tone_branch().values():
        module.train().requires_grad_(True)
    with growing_pool(task, photographs_alone=True) as pool:
        loop = Loop(task, "tone", encoder.tone_branch())
        for _ in loop:
            pool.render_on()
            photos, _, tones_linear, is_virtual, _ = map(task.crew.mine, draw_batch(loop, pool, portraits))
            with loop.autocast():
                found = encoder(photos).tone_linear
            tone = tone_error(found[is_virtual], tones_linear[is_virtual])
            real_tone = tone_error(found[~is_virtual], tones_linear[~is_virtual])
            loop.descend(weights.tone * tone + weights.portrait_tone * real_tone)
            loop.note(tone=tone, real_tone=real_tone)
    return loop
