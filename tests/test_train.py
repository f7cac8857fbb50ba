import json
import shutil
import signal
import subprocess
import sys
import threading
import time
import zlib
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_capture import MICRO, FakeStage, fake_run
from safetensors.torch import save_file

from id2r_core import files
from id2r_core.configs import PRESETS, TRAIN_STAGES
from id2r_core.conventions import Domain
from id2r_core.errors import Id2rError
from id2r_core.nets import build_nets
from id2r_core.nets.identity_encoder import IdentityEncoder
from id2r_core.packs import cli as pack_cli
from id2r_core.packs import load_pack
from id2r_core.train import augment, checkpoint, cli, losses
from id2r_core.train import pool as pool_module
from id2r_core.train.carry import collect_run, restore_run
from id2r_core.train.checkpoint import load_checkpoint, save_checkpoint, without_prefix
from id2r_core.train.export import export_pack
from id2r_core.train.identity import trained_encoder
from id2r_core.train.loop import CHECKPOINT, Loop, Task, load_trained, tile
from id2r_core.train.losses import Perceptual, adaptive_weight, hinge_for_discriminator
from id2r_core.train.parallel import Crew
from id2r_core.train.plan import stage_cost
from id2r_core.train.pool import MemoryPool, _only_filler, fill_pool, growing_pool, open_pool, pool_folder
from id2r_core.train.portraits import Portraits, is_test

ROOT = Path(__file__).parents[1]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """-> (data, out): everything a stage of MICRO needs, without rendering or photographs."""
    torch.set_num_threads(1)
    monkeypatch.setitem(PRESETS, "micro", MICRO)
    data, out = tmp_path / "data", tmp_path / "out"
    monkeypatch.setattr(losses, "VGG_SHA256", fake_run(data, out))
    return data, out


def train(stage, run, *options):
    data, out = run
    return cli.main([stage, "--preset", "micro", "--data", str(data), "--out", str(out), "--threads", "1", *options])


def test_all_stages_run_in_order_and_leave_loadable_state(run):
    assert train("all", run) == 0
    for stage in TRAIN_STAGES:
        tensors, state = load_checkpoint(run[1] / stage / CHECKPOINT)
        assert tensors
        if stage != "templates":
            assert state["step"] == MICRO.training[stage].steps
            assert all(torch.isfinite(t).all() for t in tensors.values() if t.is_floating_point())
            line = json.loads((run[1] / stage / "log.jsonl").read_text().splitlines()[-1])
            assert line["images_a_second"] > 0
    for stage in ("codebook", "domains", "swapper"):
        assert list((run[1] / stage / "sheets").glob("*.jpg"))
    folder = run[1] / "pack"
    assert pack_cli.main(["export", str(run[1]), "--preset", "micro", "--to", str(folder)]) == 0
    pack = load_pack(folder)
    assert pack.templates.codes.shape == (MICRO.templates, 3, 4, 16, 16)
    card = (folder / "README.md").read_text()
    assert "| diffuse |" in card and "| tone |" not in card
    average = without_prefix("average/swapper", load_checkpoint(run[1] / "swapper" / CHECKPOINT)[0])
    for key, tensor in pack.nets.swapper.state_dict().items():
        assert torch.allclose(tensor.float(), average[key].float(), rtol=1e-3, atol=1e-5)
    assert not [path for path in run[1].rglob("*") if path.suffix in (".pt", ".pth", ".pkl", ".ckpt", ".partial")]


def test_the_tone_learns_on_and_the_identity_stays(run):
    assert train("identity", run) == 0
    photographs = pool_folder(run[1], "photographs")
    assert open_pool(photographs).views is None and not (photographs / "views.u8").exists()
    assert train("tone", run) == 0
    task = Task(MICRO, *run)
    before, after = IdentityEncoder(MICRO), trained_encoder(task)
    load_trained(task, "identity", {"identity": before})
    photo = open_pool(photographs).photograph_images(torch.arange(4), torch.zeros(4, dtype=torch.long))
    assert torch.equal(before(photo).vector, after(photo).vector)
    assert not torch.allclose(before(photo).tone_linear, after(photo).tone_linear, atol=1e-6)
    assert all(train(stage, run) == 0 for stage in TRAIN_STAGES[1:])
    export_pack(run[1], "micro", run[1] / "pack")
    told = after(photo).tone_linear
    assert torch.allclose(load_pack(run[1] / "pack").nets.identity(photo).tone_linear, told, rtol=0.01, atol=1e-4)
    assert "| tone | " in (run[1] / "pack" / "README.md").read_text()


def test_resuming_gives_the_same_curve(run, monkeypatch):
    data, out = run
    task = Task(MICRO, data, out, steps=6)
    assert cli.run_stage("codebook", task).step == 6
    whole, _ = load_checkpoint(out / "codebook" / CHECKPOINT)
    (out / "codebook").rename(out / "whole")
    descend = Loop.descend

    def interrupt_third_step(loop, loss):
        descend(loop, loss)
        if loop.step == 2 and not loop.task.resume:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Loop, "descend", interrupt_third_step)
    stopped = cli.run_stage("codebook", task)
    assert stopped.interrupted and stopped.step == 3
    resumed = cli.run_stage("codebook", replace(task, resume=True))
    assert resumed.step == 6 and not resumed.interrupted
    halves, _ = load_checkpoint(out / "codebook" / CHECKPOINT)
    assert halves.keys() == whole.keys()
    for name, tensor in whole.items():
        # What the curve follows from is kept exactly; the averages once went through half precision.
        tolerance = 1e-3 if name.startswith("average/") else 1e-6
        assert torch.allclose(tensor.float(), halves[name].float(), atol=tolerance), name


@pytest.mark.filterwarnings("ignore::UserWarning")  # of PyTorch about itself
def test_compiled_networks_train_like_others(run, monkeypatch):
    data, out = run
    monkeypatch.setattr(Loop, "autocast", lambda loop: nullcontext())
    shutil.copytree(out, out.with_name("compiled"))
    assert train("codebook", run, "--steps", "2") == 0
    steps = ("--steps", "2", "--compile", "aot_eager")
    assert train("codebook", (data, out.with_name("compiled")), *steps) == 0
    one, other = (load_checkpoint(folder / "codebook" / CHECKPOINT)[0] for folder in (out, out.with_name("compiled")))
    assert one.keys() == other.keys()
    for name in (name for name in one if name.startswith("now/")):
        assert torch.allclose(one[name], other[name], atol=1e-4), name


def test_a_run_is_not_overwritten_without_resume(run):
    assert train("codebook", run, "--steps", "1") == 0
    with pytest.raises(Id2rError, match="already holds a run"):
        train("codebook", run, "--steps", "1")


def test_minutes_end_a_stage(run):
    data, out = run
    task = Task(MICRO, data, out, minutes=0.005)
    net = torch.nn.Linear(1, 1)
    loop = Loop(task, "fusion", {"fusion": net})
    steps = 0
    for _ in loop:
        loop.descend(net(torch.ones(1, 1)).sum())
        torch.ones(200_000).sort()
        steps += 1
        assert steps < 100_000
    assert 0.3 <= loop.seconds < 2.0 and steps > 1


def test_learning_rate_warms_up_and_falls(run):
    data, out = run
    net = torch.nn.Linear(1, 1)
    loop = Loop(Task(MICRO, data, out, steps=10), "fusion", {"fusion": net})
    rates = []
    for _ in loop:
        rates.append(loop._adam.param_groups[0]["lr"])
        loop.descend(net(torch.ones(1, 1)).sum())
    row = MICRO.training["fusion"]
    assert rates[0] < rates[1] == max(rates) <= row.rate
    assert row.final_rate < rates[-1] < 0.2 * row.rate


def test_the_average_follows_the_weights_slowly_and_is_what_later_stages_load(run):
    data, out = run
    net = torch.nn.Linear(1, 1, bias=False)
    task = Task(MICRO, data, out, steps=50)
    loop = Loop(task, "fusion", {"fusion": net})
    for _ in loop:
        loop.descend(net(torch.ones(1, 1)).sum())
    tensors, _ = load_checkpoint(out / "fusion" / CHECKPOINT)
    now, average = (without_prefix(f"{kind}/fusion", tensors)["weight"] for kind in ("now", "average"))
    assert now < average < now + 0.1
    with loop.averaged():
        assert torch.allclose(net.weight.detach(), average.float(), atol=1e-3)
    assert torch.equal(net.weight.detach(), now)


def test_a_bad_step_does_not_destroy_the_weights(run):
    data, out = run
    net = torch.nn.Linear(1, 1)
    loop = Loop(Task(MICRO, data, out, steps=1), "fusion", {"fusion": net})
    before = net.weight.detach().clone()
    for _ in loop:
        loop.descend(net(torch.full((1, 1), float("inf"))).sum())
    assert torch.equal(net.weight.detach(), before)


def test_pool_returns_what_was_rendered(run):
    pool = open_pool(pool_folder(run[1], "train"))
    stage = FakeStage(MICRO.size)
    subjects = stage.subjects([5])
    assert pool.count() == MICRO.pool.subjects
    diffuse = pool.view_images(torch.tensor([5]), torch.tensor([1]), torch.tensor([2]))[0]
    views = [stage.views(subjects, on_mean_head)[Domain.DIFFUSE][0, 2] for on_mean_head in (True, False)]
    assert torch.allclose(diffuse * 0.5 + 0.5, views[0], atol=1 / 255) and not torch.allclose(*views, atol=0.1)
    photograph = pool.photograph_images(torch.tensor([5]), torch.tensor([0]))[0] * 0.5 + 0.5
    assert torch.allclose(photograph, stage.photographs(subjects, take=1).srgb[0], atol=1 / 255)  # its own shape
    assert torch.allclose(pool.tones(torch.tensor([5])), subjects.tone_linear)
    assert torch.allclose(pool.parameter_rows(torch.tensor([5]))[:, 1:], subjects.params)


def test_pool_grows_where_it_stopped_and_only_one_process_fills_it(tmp_path):
    folder, stage = tmp_path / "pool", FakeStage(MICRO.size)
    fill_pool(folder, MICRO, stage, 8, until=lambda count: count >= 4)
    assert open_pool(folder).count() == 4
    first = np.array(open_pool(folder).tone_linear[:4])
    with _only_filler(folder):
        other = threading.Thread(target=fill_pool, args=(folder, MICRO, stage, 8))
        other.start()
        other.join(timeout=0.3)
        assert other.is_alive() and open_pool(folder).count() == 4
    other.join()
    assert open_pool(folder).count() == 8
    assert np.array_equal(open_pool(folder).tone_linear[:4], first)


def test_a_full_pool_needs_no_capture_stage(run):
    data, out = run
    with growing_pool(Task(MICRO, data, out)) as pool:
        assert pool.count() == MICRO.pool.subjects


def test_portraits_are_split_by_the_hash_of_their_name():
    assert is_test("A000014") == (zlib.crc32(b"A000014") % 5 == 0)
    share = np.mean([is_test(f"P{i:06d}") for i in range(2000)])
    assert 0.17 < share < 0.23


def test_cheeks_are_read_where_an_aligned_crop_has_them():
    image = torch.zeros(1, 3, 256, 256, dtype=torch.uint8)
    image[:, 0, 145:170, 70:98] = 200
    image[:, 0, 145:170, 158:186] = 200
    cheeks = Portraits(image, ("a",), 256).cheeks(torch.tensor([0]))
    assert cheeks[0].tolist() == pytest.approx([200 / 255, 0.0, 0.0])


def test_surroundings_change_and_the_face_stays():
    image, real = torch.ones(40, 3, 64, 64), -torch.ones(40, 3, 64, 64)
    shown = augment.surround(image, real, torch.Generator().manual_seed(0))
    assert shown[:, :, 30:40, 28:36].min() > 0.9
    is_changed = shown[:, 0, 0, 0] < -0.9
    assert 10 < is_changed.sum() < 30


def test_developing_keeps_the_range_and_changes_colours():
    image = torch.rand(8, 3, 16, 16) * 2 - 1
    shown = augment.develop(image, torch.Generator().manual_seed(0))
    assert shown.shape == image.shape and shown.min() >= -1 and shown.max() <= 1
    assert (shown - image).abs().mean((1, 2, 3)).min() > 1e-3
    black = augment.develop(torch.full((4, 3, 8, 8), -1.0), torch.Generator().manual_seed(0))
    assert torch.allclose(black, torch.full_like(black, -1.0), atol=1e-5)


def test_a_checkpoint_is_never_half_written(tmp_path, monkeypatch):
    path = tmp_path / CHECKPOINT
    save_checkpoint(path, {"a": torch.ones(2)}, {"step": 1})
    with pytest.raises(TypeError):
        save_checkpoint(path, {"a": torch.zeros(2)}, {"step": object()})
    with monkeypatch.context() as patch:
        patch.setattr(files.os, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            save_checkpoint(path, {"a": torch.zeros(2)}, {"step": 2})
    tensors, state = load_checkpoint(path)
    assert tensors["a"].sum() == 2 and state == {"step": 1}
    save_checkpoint(path, {"a": torch.zeros(2)}, {"step": 3})
    shards = list(tmp_path.glob("*.safetensors"))
    assert len(shards) == 1 and load_checkpoint(path)[1] == {"step": 3}  # what was left over is gone
    shards[0].write_bytes(shards[0].read_bytes()[:-3])
    with pytest.raises(Id2rError, match="cannot be read"):
        load_checkpoint(path)


def test_a_checkpoint_comes_in_small_shards_and_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "SHARD_BYTES", 2**18)
    monkeypatch.setattr(checkpoint, "PIECE_BYTES", 2**17)
    tensors = {"a": torch.randn(300, 401), "b": torch.arange(7), "now/c": torch.randn(5, 5).half()}
    tensors |= {"empty": torch.zeros(0, 3), "scalar": torch.tensor(3.0), "channels": torch.randn(2, 3, 4, 4)}
    tensors["channels"] = tensors["channels"].to(memory_format=torch.channels_last)
    save_checkpoint(tmp_path / CHECKPOINT, tensors, {})
    shards = list(tmp_path.glob("*.safetensors"))
    assert len(shards) >= 3 and all(path.stat().st_size <= 2**18 for path in shards)
    loaded, _ = load_checkpoint(tmp_path / CHECKPOINT)
    assert loaded.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert loaded[name].dtype == tensor.dtype and torch.equal(loaded[name], tensor)
    assert set(load_checkpoint(tmp_path / CHECKPOINT, "now/")[0]) == {"now/c"}


def test_a_run_of_an_earlier_version_is_read(tmp_path):
    save_file({"average/net/a": torch.ones(2)}, tmp_path / CHECKPOINT, metadata={"state": json.dumps({"step": 7})})
    tensors, state = load_checkpoint(tmp_path / CHECKPOINT)
    assert tensors["average/net/a"].sum() == 2 and state == {"step": 7}
    save_checkpoint(tmp_path / CHECKPOINT, {"b": torch.zeros(1)}, {"step": 8})
    assert load_checkpoint(tmp_path / CHECKPOINT)[1] == {"step": 8} and not (tmp_path / CHECKPOINT).exists()


def test_a_pool_in_memory_answers_like_one_on_disk(run):
    stage, disk = FakeStage(MICRO.size), open_pool(pool_folder(run[1], "train"))
    memory = MemoryPool(MICRO, stage, 6)
    memory.fill(4)
    assert memory.count() == 4
    while memory.count() < 6:
        memory.render_on()
        time.sleep(0.01)
    memory.render_on()
    assert memory.count() == 6
    subject, which = torch.tensor([5, 0, 3]), torch.tensor([1, 0, 1])
    domain, view = torch.tensor([0, 2, 4]), torch.tensor([2, 0, 1])
    for pool_question, arguments in (
        ("view_images", (subject, domain, view)),
        ("photograph_images", (subject, which)),
        ("tones", (subject,)),
        ("parameter_rows", (subject,)),
    ):
        assert torch.equal(getattr(memory, pool_question)(*arguments), getattr(disk, pool_question)(*arguments))


@pytest.mark.parametrize(("crew", "subjects"), [(Crew(), 4), (Crew(1, 2), 8)])
def test_processes_that_train_as_one_begin_with_all_subjects(tmp_path, monkeypatch, crew, subjects):
    monkeypatch.setattr(pool_module, "open_stage", lambda data, preset, *_: FakeStage(preset.size))
    preset = replace(MICRO, pool=replace(MICRO.pool, start=4))
    with growing_pool(Task(preset, tmp_path, tmp_path, in_memory=True, crew=crew)) as pool:
        assert pool.count() == subjects


def test_rendering_takes_only_its_share_of_the_time(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(pool_module.time, "monotonic", lambda: clock[0])
    pool = MemoryPool(MICRO, FakeStage(MICRO.size), 10_000)
    render = pool._render_chunk

    def render_slowly():
        began = clock[0]
        render()
        pool._rendering += 1.0  # the clock above stands still inside
        clock[0] = began + 1.0

    monkeypatch.setattr(pool, "_render_chunk", render_slowly)
    for _ in range(1000):
        clock[0] += 0.1
        pool.render_on()
    share = pool._rendering / clock[0]
    assert 0.12 < share < 0.18


def test_a_command_ends_in_time_and_the_next_goes_on(run, capsys):
    assert train("all", run, "--minutes", "50", "--stop-after", "0.05") == 0
    assert "go on with --resume" in capsys.readouterr().out
    _, first = load_checkpoint(run[1] / "identity" / CHECKPOINT)
    assert first["seconds"] < 10 and not first["finished"]
    assert train("all", run, "--minutes", "0.1", "--resume") == 0
    assert load_checkpoint(run[1] / "identity" / CHECKPOINT)[1]["finished"]
    steps = load_checkpoint(run[1] / "swapper" / CHECKPOINT)[1]["step"]
    assert train("all", run, "--minutes", "0.1", "--resume") == 0
    assert "identity: finished already" in capsys.readouterr().out
    assert load_checkpoint(run[1] / "swapper" / CHECKPOINT)[1]["step"] == steps


def test_a_run_travels_in_small_files_and_goes_on(run, tmp_path):
    data, out = run
    for stage in ("identity", "codebook", "domains"):
        assert train(stage, run) == 0
    assert train("fusion", run, "--steps", "2") == 0
    home = tmp_path / "home"
    assert train("collect", run, "--to", str(home)) == 0
    there = (data, tmp_path / "there")
    assert train("restore", there, "--to", str(home)) == 0
    for folder in ("pool_train", "pool_validation", "pool_photographs"):
        (out / folder).rename(there[1] / folder)
    for path in out.glob("portraits*"):
        path.rename(there[1] / path.name)
    assert train("all", there, "--resume") == 0
    tensors, state = load_checkpoint(there[1] / "domains" / CHECKPOINT)
    original = load_checkpoint(out / "domains" / CHECKPOINT)[0]
    assert all(torch.equal(tensors[name], original[name]) for name in tensors)
    assert state["finished"] and len((there[1] / "domains" / "log.jsonl").read_text().splitlines()) == 1
    assert load_checkpoint(there[1] / "templates" / CHECKPOINT)[0]
    with pytest.raises(Id2rError, match="there already"):
        train("restore", there, "--to", str(home))
    with pytest.raises(Id2rError, match="no training run"):
        train("collect", (data, tmp_path / "nothing"), "--to", str(home))


def test_a_pack_becomes_a_run_that_goes_on(run, tmp_path):
    data, out = run
    assert train("all", run) == 0
    export_pack(out, "micro", tmp_path / "pack")
    there = (data, tmp_path / "there")
    assert train("restore", there, "--pack", str(tmp_path / "pack")) == 0
    with pytest.raises(Id2rError, match="there already"):
        train("restore", there, "--pack", str(tmp_path / "pack"))
    encoder = IdentityEncoder(MICRO)
    load_trained(Task(MICRO, *there), "identity", {"identity": encoder})
    packed = load_pack(tmp_path / "pack").nets
    assert all(torch.equal(ours, packed.identity.state_dict()[name]) for name, ours in encoder.state_dict().items())
    for folder in ("pool_train", "pool_validation"):
        (out / folder).rename(there[1] / folder)
    for path in out.glob("portraits*"):
        path.rename(there[1] / path.name)
    assert train("identity", there, "--steps", "1", "--resume") == 0
    tensors, state = load_checkpoint(there[1] / "identity" / CHECKPOINT)
    assert state["step"] == 1 and any(name.startswith("now/margin/") for name in tensors)
    moved = without_prefix("now/identity", tensors)
    assert all(torch.allclose(moved[name], ours, atol=1e-2) for name, ours in encoder.state_dict().items())
    assert train("codebook", there) == 0 and train("domains", there, "--steps", "1", "--resume") == 0
    found = without_prefix("now/codebooks", load_checkpoint(there[1] / "domains" / CHECKPOINT)[0])
    assert all(
        torch.allclose(found[name], book, atol=1e-2)
        for name, book in packed.codebooks.state_dict().items()
        if "usage" not in name
    )


def test_a_carried_stage_goes_on_from_its_averages_with_a_new_warm_up(run, tmp_path):
    data, out = run
    task = Task(MICRO, data, out, steps=2)
    cli.run_stage("identity", task)
    collect_run(out, tmp_path / "home")
    restore_run(tmp_path / "home", tmp_path / "there")
    nets = {"identity": IdentityEncoder(MICRO)}
    averages = without_prefix("average/identity", load_checkpoint(out / "identity" / CHECKPOINT)[0])
    other = replace(task, out=tmp_path / "there", resume=True, steps=4)
    carried = load_checkpoint(tmp_path / "there" / "identity" / CHECKPOINT)
    kept = {n: t for n, t in carried[0].items() if n.startswith("average/identity/")}
    save_checkpoint(tmp_path / "there" / "identity" / CHECKPOINT, kept, carried[1])
    loop = Loop(other, "identity", nets)
    assert loop.step == 2 and loop._warm_from == 2
    for name, tensor in nets["identity"].state_dict().items():
        assert torch.allclose(tensor, averages[name].float())
    loop._set_rates()
    assert loop._adam.param_groups[0]["lr"] < 0.6 * MICRO.training["identity"].rate


def test_a_dry_run_trains_nothing_and_says_what_it_would_cost(run, capsys):
    before = sorted(run[1].rglob("*"))
    assert train("all", run, "--dry-run", "--minutes", "10") == 0
    said = capsys.readouterr().out
    assert sorted(run[1].rglob("*")) == before
    assert all(stage in said for stage in ("identity", "codebook", "domains", "fusion", "swapper"))
    assert "pack:" in said and "images/s" in said


def test_more_pixels_cost_more():
    costs = []
    for preset in (MICRO, replace(MICRO, size=64, patch=2)):
        with torch.device("meta"):
            nets = build_nets(preset)
        costs.append(stage_cost(nets, preset, "codebook"))
    assert costs[1].operations > costs[0].operations and costs[1].kept_bytes > costs[0].kept_bytes > 0


CREW_SCRIPT = """
import sys
sys.path[:0] = [".", "tests"]
from test_train import train_exactly
from id2r_core.train.parallel import leave
train_exactly(*sys.argv[1:])
leave(0)
"""


def train_exactly(data, out, vgg):
    """Two stages of MICRO in float32 and without the discriminator, whose batch statistics are each process's own."""
    rows = {name: replace(row, adversarial_from=1.0) for name, row in MICRO.training.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "micro", replace(MICRO, training=rows))
        patch.setattr(losses, "VGG_SHA256", vgg)
        patch.setattr(Loop, "autocast", lambda loop: nullcontext())
        for stage in ("identity", "codebook"):
            train(stage, (data, out), "--batch", "8")


def test_two_processes_train_like_one(run, tmp_path):
    data, out = run
    (tmp_path / "crew.py").write_text(CREW_SCRIPT)
    shutil.copytree(out, tmp_path / "two")
    train_exactly(data, out, losses.VGG_SHA256)
    crew = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(tmp_path / "crew.py")]
    command = [sys.executable, *crew, str(data), str(tmp_path / "two"), losses.VGG_SHA256]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    for stage in ("identity", "codebook"):
        one, two = (load_checkpoint(folder / stage / CHECKPOINT)[0] for folder in (out, tmp_path / "two"))
        for name in (name for name in one if name.startswith("now/")):
            assert torch.allclose(one[name], two[name], atol=1e-5), (stage, name)
        assert len((tmp_path / "two" / stage / "log.jsonl").read_text().splitlines()) == 1


def test_perceptual_distance_grows_with_blur_and_teaches_the_image_alone():
    torch.manual_seed(0)
    net = Perceptual()
    image = torch.rand(1, 3, 64, 64) * 2 - 1
    target = image.clone().requires_grad_(True)
    blurred = torch.nn.functional.avg_pool2d(image, 3, 1, 1).requires_grad_(True)
    assert net(image, target) < 1e-9
    loss = net(blurred, target)
    loss.backward()
    assert loss > 1e-4 and blurred.grad.abs().sum() > 0 and target.grad is None


def test_hinge_and_adaptive_weight():
    assert hinge_for_discriminator(torch.tensor([2.0]), torch.tensor([-2.0])) == 0
    assert hinge_for_discriminator(torch.tensor([0.0]), torch.tensor([0.0])) == 1
    weight = torch.nn.Parameter(torch.ones(1))
    ratio = adaptive_weight((3 * weight).sum(), (0.5 * weight).sum(), weight, 1e4)
    assert ratio == pytest.approx(6.0, rel=1e-3)


def test_bad_arguments_are_named(run):
    out = run[1]
    with pytest.raises(Id2rError, match="no training data"):
        cli.main(["codebook", "--data", str(out / "nowhere"), "--out", str(out)])
    with pytest.raises(Id2rError, match="no device called"):
        train("codebook", run, "--device", "abacus")
    with pytest.raises(Id2rError, match="no checkpoint"):
        train("fusion", run)


def test_sheets_tile_images_row_by_row():
    red = torch.tensor([1.0, -1.0, -1.0]).reshape(1, 3, 1, 1).expand(2, 3, 4, 5)
    picture = tile([red, -red])
    assert picture.shape == (8, 10, 3)
    assert picture[0, 0].tolist() == [255, 0, 0] and picture[7, 9].tolist() == [0, 255, 255]


def test_no_other_file_passes_for_the_perceptual_network(run, monkeypatch):
    path = run[0] / losses.VGG_FILE
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    monkeypatch.setattr(losses, "_weight_at", lambda *_: pytest.fail("it was read"))
    with pytest.raises(Id2rError, match="not the published file"):
        losses.load_perceptual(run[0], 1, torch.device("cpu"))


def test_an_overflow_is_skipped_and_said(run):
    task = Task(MICRO, *run, steps=2, seed=3)
    layer = torch.nn.Linear(1, 1)
    loop = Loop(task, "fusion", {"layer": layer})
    before = layer.weight.detach().clone()
    for step in loop:
        loop.descend(layer.weight.sum() * (float("inf") if step == 0 else 0.0))
    entry = json.loads((loop.folder / "log.jsonl").read_text().splitlines()[-1])
    assert entry["overflowed"] == 0.5 and torch.isfinite(layer.weight).all() and torch.allclose(layer.weight, before)
