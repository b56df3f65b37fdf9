"""Which files and which batches: the LightningDataModule over the splits of a data set."""

import hashlib
import logging
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from torch.utils.data import DataLoader

from ssd.data import voc
from ssd.data.checks import Report
from ssd.data.dataset import DetectionDataset, collate
from ssd.data.download import download_voc
from ssd.data.samplers import EvaluationSampler, ResumableLoader, TrainSampler
from ssd.data.transforms import Augmentation
from ssd.errors import ConfigError
from ssd.records import Annotations

log = logging.getLogger(__name__)

HELD_OUT = 10  # one training image in so many validates, where there is no split for it
AUTO = "auto"


class DetectionDataModule(pl.LightningDataModule):
    """The training, validation and test split of a data set in VOC format.

    prepare: called with `root` before anything is read, to draw or download what lies there; or
    None
    train_split, val_split, test_split: image sets, see `voc.read_split`; None for no such split
    val_split: "auto" takes `val` where it exists and is no part of training or test, and otherwise
    holds out a tenth of the training images by a hash of their ids
    classes: names, or None for those that occur, sorted
    train_difficult: whether difficult objects are trained on, as the Caffe code does
    batch_size: images of one optimizer step, over all devices and accumulations
    image_size: (height, width) of the network's input
    """

    def __init__(
        self,
        root: str,
        prepare: Callable[[Path], None] | None,
        download: bool,
        train_split: voc.Split,
        val_split: voc.Split,
        test_split: voc.Split,
        classes: Sequence[str] | None,
        bad_box: str,
        train_difficult: bool,
        batch_size: int,
        num_workers: int,
        augmentation: Augmentation | None,
        image_size: tuple[int, int],
        seed: int,
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise ConfigError(f"data.batch_size={batch_size}: give at least 1")
        if classes and len(set(classes)) < len(classes):
            raise ConfigError(f"data.classes={list(classes)} names a class twice")
        if any(name.casefold().strip("_") == "background" for name in classes or ()):
            raise ConfigError(
                f"data.classes={list(classes)}: leave out the background; it is no class"
            )
        if num_workers < 0:
            raise ConfigError(f"data.num_workers={num_workers}: give 0 or more")
        self.root = Path(root).expanduser()
        self.prepare = prepare
        self.download = download
        self.train_split = train_split
        self.val_split = val_split
        self.test_split = test_split
        self.given_classes = list(classes) if classes else None
        self.bad_box = bad_box
        self.train_difficult = train_difficult
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.augmentation = augmentation
        self.image_size = image_size
        self.seed = seed
        self.test_stage = "test"  # evaluate.py may test on another

    def prepare_data(self) -> None:
        if self.prepare:
            self.prepare(self.root)
        if self.download:
            wanted = (self.train_split, self.val_split, self.test_split)
            splits = [name for split in wanted for name in voc.names_of(split) if name != AUTO]
            download_voc(self.root, splits)

    @cached_property
    def pictures(self) -> dict[str, list[voc.Picture]]:
        """What the files say, by stage: train, val and test. All splits are read before
        training."""
        report = Report(self.bad_box)
        train = voc.read_split(self.root, self.train_split, report)
        test = voc.read_split(self.root, self.test_split, report)
        train, val = self.divided(train, {picture.id for picture in train + test}, report)
        report.close()
        check_leaks(train, test)
        check_leaks(val, test)
        return {"train": train, "val": val, "test": test}

    def divided(
        self, train: list[voc.Picture], taken: set[str], report: Report
    ) -> tuple[list[voc.Picture], list[voc.Picture]]:
        """Training and validation images, by `val_split`. taken: ids of training and test."""
        if not self.val_split:
            return train, []
        if self.val_split != AUTO:
            val = voc.read_split(self.root, self.val_split, report)
            check_leaks(train, val)
            return train, val
        if voc.has_split(self.root, "val") and taken.isdisjoint(voc.read_ids(self.root, "val")):
            return train, voc.read_split(self.root, "val", report)
        held_out = [picture for picture in train if is_held_out(picture.id)]
        if train:
            log.info(
                "data.val_split=auto: %d of %d training images are held out for validation",
                len(held_out),
                len(train),
            )
        return [picture for picture in train if not is_held_out(picture.id)], held_out

    @cached_property
    def classes(self) -> list[str]:
        """Names, without the background."""
        if self.given_classes:
            return self.given_classes
        names = voc.class_names(p for pictures in self.pictures.values() for p in pictures)
        if not names:
            raise ValueError(f"{self.root}: no image of {self.train_split} holds an object")
        return names

    @cached_property
    def annotations(self) -> dict[str, Annotations]:
        return {
            stage: voc.to_annotations(pictures, self.classes)
            for stage, pictures in self.pictures.items()
        }

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
        world, rank = self.trainer.world_size, self.trainer.global_rank
        sampler = TrainSampler(len(dataset), self.batch_size, self.seed, rank, world)
        return ResumableLoader(
            dataset, sampler=sampler, batch_size=self.batch_size // parts, **self.loading()
        )

    def val_dataloader(self) -> DataLoader | list:
        return self.evaluation_loader("val")

    def test_dataloader(self) -> DataLoader | list:
        return self.evaluation_loader(self.test_stage)

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
            "pin_memory": self.trainer.strategy.root_device.type == "cuda",
            "persistent_workers": self.num_workers > 0,
        }


def is_held_out(id: str) -> bool:
    """Whether an image validates: by its own id, so that adding images moves no other."""
    return int(hashlib.sha256(id.encode()).hexdigest(), 16) % HELD_OUT == 0


def check_leaks(one: Sequence[voc.Picture], other: Sequence[voc.Picture]) -> None:
    shared = {picture.id for picture in one} & {picture.id for picture in other}
    if shared:
        named = ", ".join(sorted(shared)[:5])
        raise ValueError(
            f"{len(shared)} images are in two splits that must not share any: {named}…; "
            "the score would be of images that were learned"
        )
