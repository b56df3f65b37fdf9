"""Which files and which batches: the LightningDataModule over the splits of data sets."""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from torch.utils.data import DataLoader

from ssd.data.checks import Report
from ssd.data.columns import Records, joined, to_annotations
from ssd.data.dataset import DetectionDataset, collate
from ssd.data.download import download_voc
from ssd.data.formats import Split
from ssd.data.naming import check_found, read_classes
from ssd.data.overlaps import check_given_once, check_leaks
from ssd.data.parts import STAGES, make_part, names_given, others
from ssd.data.samplers import EvaluationSampler, ResumableLoader, TrainSampler
from ssd.data.split_lists import apart, read_lists, write_lists
from ssd.data.splits import check_renames, read_part
from ssd.data.transforms import Augmentation
from ssd.data.workers import check_limits, start_worker
from ssd.errors import ConfigError
from ssd.records import Annotations

log = logging.getLogger(__name__)


class DetectionDataModule(pl.LightningDataModule):
    """The training, validation and test images of a data set, or of several together.

    format: one of `data.formats.FORMATS`, or "auto": recognised from the folder
    prepare: called with `root` before anything is read, to draw or download what lies there; or
    None
    train_split, val_split, test_split: names of splits as the format has them, several are joined;
    None for no such split; "auto" for the one that is called so, and where there is none, every
    image for training, and a tenth of the training images for validation and for the test
    more: further data sets, each with a `root` and whatever else of format, train_split, val_split,
    test_split, rename and first_pixel differs from the first's
    classes: names, or a text file of them, or None for those that occur, sorted
    rename: class names in the files to those that they become, or None; several may become one
    first_pixel: 1 where files count pixels from 1 and name the last one inside, as VOC's; 0 where
    they count from 0 and name the first one outside; None for the format's own way
    bad_box, bad_image, size_mismatch, unknown_class: "raise" or "drop", see `data.checks`
    train_difficult: whether difficult objects are trained on, as the Caffe code does
    batch_size: images of one optimizer step, over all devices and accumulations
    timeout: seconds without a batch from the workers after which the run stops; 0 waits for ever
    image_size: (height, width) of the network's input
    """

    def __init__(
        self,
        root: str,
        format: str,
        prepare: Callable[[Path], None] | None,
        download: bool,
        train_split: Split,
        val_split: Split,
        test_split: Split,
        more: Sequence[Mapping[str, Any]],
        classes: str | Sequence[str] | None,
        rename: Mapping[str, str] | None,
        first_pixel: int | None,
        bad_box: str,
        bad_image: str,
        size_mismatch: str,
        unknown_class: str,
        train_difficult: bool,
        batch_size: int,
        num_workers: int,
        timeout: float,
        augmentation: Augmentation | None,
        image_size: tuple[int, int],
        seed: int,
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise ConfigError(f"data.batch_size={batch_size}: give at least 1")
        if num_workers < 0:
            raise ConfigError(f"data.num_workers={num_workers}: give 0 or more")
        if timeout < 0:
            raise ConfigError(f"data.timeout={timeout}: give seconds, or 0 to wait for ever")
        first = {
            "root": root,
            "format": format,
            "train_split": train_split,
            "val_split": val_split,
            "test_split": test_split,
            "rename": rename,
            "first_pixel": first_pixel,
        }
        self.parts = [make_part(fields) for fields in (first, *others(first, more))]
        self.root = self.parts[0].root
        self.prepare = prepare
        self.download = download
        self.given_classes = read_classes(classes)
        self.report = Report(
            {
                "bad_box": bad_box,
                "bad_image": bad_image,
                "size_mismatch": size_mismatch,
                "unknown_class": unknown_class,
            }
        )
        self.train_difficult = train_difficult
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.timeout = timeout
        self.augmentation = augmentation
        self.image_size = image_size
        self.seed = seed
        self.made: list[str] = []  # the stages whose images no file names
        self.scored: str | None = None  # the one stage that is read, to be scored; None: all are
        self.kept: Path | None = None  # the run whose splits are kept, where it made them
        self.lists: dict[str, list[str]] | None = None  # the ids of each stage there

    @property
    def train_split(self) -> Split:
        return self.parts[0].train_split

    @property
    def test_split(self) -> Split:
        return self.parts[0].test_split

    def keep_splits(self, run_dir: Path) -> None:
        """Take the images of each stage as they were divided for a run, where that was needed:
        images that came since would divide them otherwise."""
        self.kept, self.lists = run_dir.resolve(), read_lists(run_dir, STAGES)
        if self.lists:
            log.info("the images of each split are those that %s/splits lists", run_dir)

    def prepare_data(self) -> None:
        if self.prepare:
            self.prepare(self.root)
        if self.download:
            download_voc(self.root, names_given(self.parts[0]))

    @cached_property
    def records(self) -> dict[str, Records]:
        """What the files of all data sets say, by stage. All splits are read before training; to
        score one, those that it is made of."""
        roots = [part.root for part in self.parts]
        fronts = [f"{number}/" for number in range(len(roots))] if roots[1:] else [""]
        lists = self.lists and apart(self.lists, fronts)
        found = [
            read_part(part, self.report, self.scored, lists and lists[front])
            for part, front in zip(self.parts, fronts, strict=True)
        ]
        self.made = sorted({stage for one in found for stage in one.made})
        if self.scored is None:
            check_renames(self.parts, found)
        check_given_once([one.stages for one in found], roots)
        stages = {stage: [one.stages[stage] for one in found] for stage in STAGES}
        whole = {stage: joined_with_fronts(parts, fronts) for stage, parts in stages.items()}
        for one, other in combinations(whole.values(), 2):
            check_leaks(one, other, self.report)
        return whole

    @cached_property
    def classes(self) -> list[str]:
        """Names, without the background."""
        if self.given_classes:
            return self.given_classes
        names = {name for records in self.records.values() for name in records.class_names()}
        if not names and not self.report.collect:
            raise ValueError(
                f"{self.root}: no image of {self.train_split} holds an object; draw boxes, or name "
                "what may occur, as in data.classes=[cat,dog]"
            )
        with self.report.skipping():
            check_found(names, " and ".join(str(part.root) for part in self.parts))
        return sorted(names)

    @cached_property
    def annotations(self) -> dict[str, Annotations]:
        found = {
            stage: to_annotations(records, self.classes, self.report)
            for stage, records in self.records.items()
        }
        self.report.close()
        del self.records  # workers get a copy of all that is kept
        return found

    def write_splits(self, run_dir: Path) -> None:
        """Lists of ids of splits that were made, beside the run; nothing goes to the data's
        folder."""
        lists = {stage: found.ids for stage, found in self.annotations.items()}
        if self.lists is None or self.kept != run_dir.resolve():  # else they are there
            write_lists(run_dir, lists if self.made or self.lists else None)

    @property
    def steps_per_epoch(self) -> float:
        """Optimizer steps that take as many images as there are; an epoch drops the fraction."""
        return len(self.annotations["train"].ids) / self.batch_size

    def dataset(self, stage: str, training: bool) -> DetectionDataset:
        return DetectionDataset(
            self.annotations[stage],
            self.image_size,
            self.augmentation if training else None,
            keep_difficult=self.train_difficult or not training,
            keep_crowds=not training,
            seed=self.seed,
        )

    def train_dataloader(self) -> DataLoader:
        parts = self.trainer.world_size * self.trainer.accumulate_grad_batches
        if self.batch_size % parts:
            raise ConfigError(
                f"data.batch_size={self.batch_size} does not divide by {self.trainer.world_size} "
                f"devices x {self.trainer.accumulate_grad_batches} accumulated batches; it counts "
                "the images of one optimizer step, not of one device"
            )
        dataset = self.dataset("train", training=True)
        if len(dataset) < self.batch_size:
            raise ConfigError(
                f"data.batch_size={self.batch_size} is more than the {len(dataset)} images of "
                f"data.train_split={self.train_split}; no step would be taken"
            )
        check_limits(self.num_workers, self.batch_size // parts, self.image_size)
        world, rank = self.trainer.world_size, self.trainer.global_rank
        sampler = TrainSampler(len(dataset), self.batch_size, self.seed, rank, world)
        return ResumableLoader(
            dataset, sampler=sampler, batch_size=self.batch_size // parts, **self.loading()
        )

    def val_dataloader(self) -> DataLoader | list:
        return self.evaluation_loader("val")

    def test_dataloader(self) -> DataLoader | list:
        return self.evaluation_loader(self.scored or "test")

    def evaluation_loader(self, stage: str) -> DataLoader | list:
        dataset = self.dataset(stage, training=False)
        if not len(dataset):
            return []
        world, rank = self.trainer.world_size, self.trainer.global_rank
        sampler = EvaluationSampler(len(dataset), rank, world)
        batch_size = max(1, self.batch_size // world)
        return DataLoader(dataset, sampler=sampler, batch_size=batch_size, **self.loading())

    def loading(self) -> dict[str, Any]:
        return {
            "collate_fn": collate,
            "num_workers": self.num_workers,
            "timeout": self.timeout if self.num_workers else 0,
            "worker_init_fn": start_worker,
            "pin_memory": self.trainer.strategy.root_device.type == "cuda",
            "persistent_workers": self.num_workers > 0,
        }


def joined_with_fronts(parts: Sequence[Records], fronts: Sequence[str]) -> Records:
    """The images of several data sets, each with ids that no other has."""
    return joined(
        [
            part._replace(ids=[front + id for id in part.ids])
            for part, front in zip(parts, fronts, strict=True)
        ]
    )
