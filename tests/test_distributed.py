"""Two and three processes are one: what they train, score and count, see ranks.py."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import hydra
import pytest
import torch
from omegaconf import OmegaConf
from ranks import BATCH, POSITIVES, SCORED, WORLDS
from test_module import make_module, weights
from torch.distributed import TCPStore
from verbs import ROOT, SMALL
from voc import Box, write_voc

from ssd.cli.distributed import FOLDER, within_torchrun
from ssd.data.samplers import TrainSampler
from ssd.errors import ConfigError

Ranks = dict[int, list[dict[str, Any]]]  # of each number of processes, what each rank left

LARGE = [("dog", 11, 6, 50, 35), ("cat", 1, 1, 9, 9), ("cat", 40, 1, 60, 12)]


def small_boxes(count: int) -> list[Box]:
    """Objects smaller than half an anchor: each is found by one anchor, its own."""
    places = [(5 + 12 * column, 5 + 12 * row) for row in range(3) for column in range(4)]
    return [("cat", x, y, x + 2, y + 1) for x, y in places[:count]]


def share_out(counts: list[int]) -> dict[str, list[Box]]:
    """A batch of images in which each rank has so many objects."""
    order = [index for _, index in TrainSampler(BATCH, BATCH, seed=0, rank=0, world_size=1)]
    world = len(counts)
    held = dict.fromkeys(range(BATCH), 0)
    for rank, count in enumerate(counts):
        share = order[rank::world]
        for number in range(count):
            held[share[number % len(share)]] += 1
    return {f"i{index:02}": small_boxes(number) for index, number in held.items()}


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> Ranks:
    data, out = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("ranks")
    for name, by_world in POSITIVES.items():
        for world, counts in by_world.items():
            write_voc(data / name / str(world), {"train": share_out(counts)})
    long = {f"i{index:02}": LARGE[: index % 4] for index in range(30)}
    write_voc(data / "long", {"train": long})
    for number in SCORED:
        images = {f"i{index}": LARGE[: 1 + index % 3] for index in range(number)}
        write_voc(data / f"scored{number}", {"train": {"t": LARGE}, "test": images})
    paths = os.pathsep.join([str(ROOT), os.environ["PYTHONPATH"]])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    command = [sys.executable, str(ROOT / "tests" / "ranks.py"), str(data), str(out)]
    subprocess.run(command, env=environment, check=True, timeout=240)
    return {
        world: [torch.load(out / f"{world}_{rank}.pt", weights_only=True) for rank in range(world)]
        for world in WORLDS
    }


@pytest.mark.parametrize("world", [2, 3])
@pytest.mark.parametrize("name", POSITIVES)
def test_the_gradient_is_that_of_one_process_whatever_each_has(
    ranks: Ranks, name: str, world: int
) -> None:
    alone = ranks[1][0]["gradients"][name, world]
    together = [rank["gradients"][name, world] for rank in ranks[world]]
    assert [rank["positives"] for rank in together] == [[n] for n in POSITIVES[name][world]]
    assert alone["positives"] == [sum(POSITIVES[name][world])]
    assert alone["gradients"][0].abs().max() > 1e-3
    for rank in together:
        torch.testing.assert_close(rank["gradients"][0], alone["gradients"][0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("world", [2, 3])
def test_accumulated_gradients_of_several_processes_are_those_of_the_whole_batch(
    ranks: Ranks, world: int
) -> None:
    whole = ranks[1][0]["long"]["gradients"][:2]
    for rank in [*ranks[1], *ranks[world]]:
        torch.testing.assert_close(rank["accumulated"]["gradients"], whole, rtol=0, atol=1e-12)


@pytest.mark.parametrize("world", [2, 3])
def test_twenty_steps_end_with_the_weights_of_one_process(ranks: Ranks, world: int) -> None:
    alone, first = ranks[1][0]["long"]["weights"], ranks[world][0]["long"]["weights"]
    assert (alone - weights(make_module())).abs().max() > 1e-3
    torch.testing.assert_close(first, alone, rtol=0, atol=1e-9)
    for rank in ranks[world]:
        assert torch.equal(rank["long"]["weights"], first)


@pytest.mark.parametrize("parts", ["long", "accumulated"])
@pytest.mark.parametrize("world", [2, 3])
def test_every_step_has_the_images_of_one_process_augmented_alike(
    ranks: Ranks, world: int, parts: str
) -> None:
    alone = images_of_steps(ranks[1], parts)
    assert images_of_steps(ranks[world], parts) == alone
    assert len(set().union(*alone)) == BATCH * len(alone)  # none looks as it did in another epoch


def images_of_steps(ranks: list[dict[str, Any]], parts: str) -> list[set[tuple[int, str]]]:
    """The images and what they hold of every optimizer step, over all ranks."""
    flat = [[image for batch in rank[parts]["batches"] for image in batch] for rank in ranks]
    share = BATCH // len(ranks)
    return [
        {image for rank in flat for image in rank[start : start + share]}
        for start in range(0, len(flat[0]), share)
    ]


@pytest.mark.parametrize("world", [2, 3])
@pytest.mark.parametrize("images", SCORED)
def test_a_split_has_one_score_however_many_processes_share_it(
    ranks: Ranks, images: int, world: int
) -> None:
    alone = ranks[1][0]["scored"][images]
    assert alone["images"].bincount().tolist() == [20] * images  # each is counted once
    for rank in ranks[world]:
        found = rank["scored"][images]
        assert torch.equal(found["images"], alone["images"])
        torch.testing.assert_close(found["boxes"], alone["boxes"], rtol=0, atol=1e-6)
        assert found["scores"]["test/loss"] == pytest.approx(alone["scores"]["test/loss"], rel=1e-6)
        assert precisions(found) == pytest.approx(precisions(alone), abs=1e-9, nan_ok=True)


def precisions(found: dict[str, Any]) -> dict[str, float]:
    return {name: value for name, value in found["scores"].items() if name != "test/loss"}


@pytest.mark.parametrize("world", [2, 3])
def test_one_set_of_detections_has_one_score_however_it_is_shared(ranks: Ranks, world: int) -> None:
    alone = ranks[1][0]["shares"]
    assert 0.1 < alone["map"] < 0.9
    for rank in ranks[world]:
        assert rank["shares"] == pytest.approx(alone, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("world", [2, 3])
def test_a_score_is_not_the_mean_of_the_ranks(ranks: Ranks, world: int) -> None:
    mean, score = 1 / world, 1 / (1 + 5 * (world - 1))  # precision 1 up to that recall
    assert abs(mean - score) > 0.1
    assert [rank["unlike shares"] for rank in ranks[world]] == pytest.approx([score] * world)


@pytest.fixture
def torchrun(monkeypatch: pytest.MonkeyPatch) -> TCPStore:
    """What torchrun tells its processes, and the store that it runs for them."""
    store = TCPStore("127.0.0.1", 0, is_master=True)
    names = {"RUN_ID": "none", "USE_AGENT_STORE": "True", "RESTART_COUNT": "0"}
    variables = {f"TORCHELASTIC_{name}": value for name, value in names.items()}
    variables |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port), "WORLD_SIZE": "3"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return store


def words_of(rank: int, words: list[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("RANK", str(rank))
    return within_torchrun(words)


@pytest.mark.usefixtures("torchrun")
def test_the_processes_of_torchrun_have_the_folder_that_rank_0_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = words_of(0, ["seed=1"], monkeypatch)
    monkeypatch.setattr(time, "strftime", lambda form: "a second later")
    others = [words_of(rank, ["seed=1"], monkeypatch) for rank in (1, 2)]
    own = ["hydra.job.name=train_ddp_process_{}", "hydra.output_subdir=null"]
    assert others == [[*first, own[0].format(rank), own[1]] for rank in (1, 2)]
    assert first[0] == "seed=1"
    assert re.fullmatch(r"hydra\.run\.dir=outputs/\d{4}-\d\d-\d\d/\d\d-\d\d-\d\d", first[1])


@pytest.mark.usefixtures("torchrun")
def test_a_folder_that_is_given_is_that_of_all_of_torchruns_processes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert words_of(0, ["hydra.run.dir=a"], monkeypatch) == ["hydra.run.dir=a"]
    assert words_of(1, ["hydra.run.dir=a"], monkeypatch)[:1] == ["hydra.run.dir=a"]


@pytest.mark.usefixtures("torchrun")
def test_a_sweep_by_torchrun_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"-m under torchrun .* trainer=ddp starts the processes"):
        words_of(0, ["-m", "seed=0,1"], monkeypatch)


def test_without_torchrun_a_command_line_stays_as_it_is() -> None:
    assert within_torchrun(["-m", "seed=0,1"]) == ["-m", "seed=0,1"]


def test_the_folder_of_torchrun_is_hydras_own() -> None:
    output = Path(hydra.__file__).parent / "conf" / "hydra" / "output" / "default.yaml"
    folder = OmegaConf.to_container(OmegaConf.load(output))["run"]["dir"]
    assert re.sub(r"\$\{now:(.+?)\}", r"\1", folder) == FOLDER


@pytest.mark.slow
def test_a_run_by_torchrun_is_one_folder_with_one_configuration(root: Path, tmp_path: Path) -> None:
    words = [*SMALL, f"data.root={root}", "trainer=ddp", "trainer.accelerator=cpu"]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [*command, str(ROOT / "train.py"), *words], cwd=tmp_path, env=environment, check=True
    )
    (folder,) = tmp_path.glob("outputs/*/*")
    assert sorted(path.name for path in folder.rglob("*.yaml")) == [
        "config.yaml",
        "hydra.yaml",
        "overrides.yaml",
    ]
    assert (folder / "results.json").is_file()
    assert {path.name for path in folder.glob("*.log")} >= {"train.log"}
