"""The seed decides everything: no worker, device, restart or other draw of numbers does."""

import hashlib
import random
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from test_transforms import SETTINGS
from torch import Tensor
from verbs import SMALL, last, metrics, run
from voc import POLICIES, read_records

from ssd.data.checks import Report
from ssd.data.columns import to_annotations
from ssd.data.dataset import DetectionDataset, collate
from ssd.data.samplers import ResumableLoader, TrainSampler, epoch_seed
from ssd.data.transforms import Augmentation

CLOCKS = ("images_per_second", "seconds", "time")  # columns that no two runs have alike
Image = tuple[int, int, str]  # step, index, and what the network gets

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")


def trained(root: Path, folder: Path, *words: str) -> Path:
    random.seed(), np.random.seed(), torch.seed()  # whatever ran before in this process
    words = [f"data.root={root}", "augmentation=ssd", "optimizer.lr=1e-3", *words]
    assert run("train", *SMALL, *words, f"hydra.run.dir={folder}") == 0
    return folder


def state(folder: Path) -> list[Tensor]:
    """Every tensor of the last checkpoint: weights, optimizer, and what callbacks keep."""
    return tensors(last(folder))


def tensors(content: object) -> list[Tensor]:
    if isinstance(content, dict):
        content = [*content.values()]
    if isinstance(content, list | tuple):
        return [tensor for item in content for tensor in tensors(item)]
    return [content] if isinstance(content, Tensor) else []


def numbers(folder: Path) -> list[dict[str, str]]:
    """metrics.csv without what a clock says."""
    return [
        {name: value for name, value in row.items() if not any(c in name for c in CLOCKS)}
        for row in metrics(folder)
    ]


@pytest.fixture(scope="module")
def runs(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    averages = "callbacks=[default,averaging]"
    return {
        "one": trained(root, folder / "one", averages),
        "again": trained(root, folder / "again", averages, "data.num_workers=2"),
        "other": trained(root, folder / "other", "seed=1", "trainer.max_steps=1"),
    }


def test_two_runs_of_a_seed_are_equal_bit_by_bit(runs: dict[str, Path]) -> None:
    one, two = state(runs["one"]), state(runs["again"])
    assert len(one) == len(two) > 100
    assert all(torch.equal(*pair) for pair in zip(one, two, strict=True))


def test_two_runs_of_a_seed_have_the_same_metrics(runs: dict[str, Path]) -> None:
    assert numbers(runs["one"]) == numbers(runs["again"])
    assert {"train/loss", "val/map", "train/grad_norm"} <= numbers(runs["one"])[0].keys()


def test_zero_is_a_seed_and_another_seed_is_another_run(runs: dict[str, Path]) -> None:
    """Without `seed=` it is 0."""
    losses = [float(numbers(runs[name])[0]["train/loss"]) for name in ("one", "other")]
    assert losses[0] != losses[1]


@pytest.fixture(scope="module")
def dataset(root: Path) -> DetectionDataset:
    report = Report(POLICIES)
    annotations = to_annotations(read_records(root), ["cat", "dog"], report)
    augmentation = Augmentation(**SETTINGS)
    return DetectionDataset(annotations, (32, 32), augmentation, True, True, seed=0)


def seen(dataset: DetectionDataset, world: int = 1, **loading: object) -> set[Image]:
    """What the devices of a run get in the steps of two epochs, of 4 images each."""
    found = set()
    for rank in range(world):
        sampler = TrainSampler(len(dataset), 4, seed=0, rank=rank, world_size=world)
        options = {"batch_size": 4 // world, "collate_fn": collate, **loading}
        loader = ResumableLoader(dataset, sampler=sampler, **options)
        for epoch in range(2):
            sampler.set_epoch(epoch)
            for step, batch in enumerate(loader):
                rows = zip(batch["indices"].tolist(), batch["images"], strict=True)
                found |= {(2 * epoch + step, index, digest(image)) for index, image in rows}
    return found


def digest(image: Tensor) -> str:
    return hashlib.sha256(image.contiguous().numpy().tobytes()).hexdigest()


@pytest.fixture(scope="module")
def alone(dataset: DetectionDataset) -> set[Image]:
    return seen(dataset)


WORKERS = [
    {"num_workers": workers, "prefetch_factor": prefetch, "persistent_workers": persistent}
    for workers, prefetch, persistent in product((1, 3), (2, 4), (False, True))
]


@pytest.mark.parametrize("loading", [{}, *WORKERS], ids=str)
def test_what_a_step_gets_does_not_depend_on_workers(
    dataset: DetectionDataset, alone: set[Image], loading: dict[str, object]
) -> None:
    random.seed(), np.random.seed(), torch.seed()
    assert seen(dataset, **loading) == alone
    assert len(alone) == len({image for *_, image in alone}) == 16  # no image looks as before


@pytest.mark.parametrize("world", [2, 4])
def test_what_a_step_gets_does_not_depend_on_devices(
    dataset: DetectionDataset, alone: set[Image], world: int
) -> None:
    assert seen(dataset, world, num_workers=1) == alone


class Probe(Augmentation):
    """Takes whole images, and notes the first number that each image's generator draws."""

    def __init__(self) -> None:
        super().__init__(**SETTINGS)
        self.drawn: list[int] = []

    def window(
        self, boxes: np.ndarray, size: tuple[int, int], rng: np.random.Generator
    ) -> tuple[int, int, int, int]:
        self.drawn.append(int(rng.bit_generator.random_raw()))
        return (0, 0, *size)


def test_no_two_images_of_a_million_pairs_share_their_random_numbers(  # R4
    dataset: DetectionDataset,
) -> None:
    probe = Probe()
    for seed, epoch, index in product(range(12), range(16), range(len(dataset))):
        DetectionDataset(dataset.annotations, (8, 8), probe, True, True, seed)[epoch, index]
    assert len(probe.drawn) * (len(probe.drawn) - 1) / 2 > 1e6
    assert len(set(probe.drawn)) == len(probe.drawn)


def test_no_two_epochs_of_a_million_pairs_share_their_order() -> None:
    seeds = {epoch_seed(seed, epoch) for seed, epoch in product(range(15), range(100))}
    assert len(seeds) == 1500
