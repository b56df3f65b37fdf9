"""Memory of data-loading workers, for annotations as many as COCO's train2017, made up.

    python benchmarks/worker_memory.py [--images 118000] [--boxes 860000] [--workers 2]

Every worker looks up every image's boxes, id and file in a random order, as an epoch does, but
reads no picture. Prints, of each worker, the megabytes that no other process shares (private) and
its part of all that it maps (proportional), before and after; for ids and files as lists of texts
and as `Texts`; for workers that are forked, and for those that are started afresh and sent the data
set. The last lines are the bytes that a box and an image take, and 1.7 million images.
"""

import argparse
import gc
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

sys.path.insert(0, str(Path(__file__).parent.parent))

from ssd.data.dataset import DetectionDataset
from ssd.records import Annotations
from ssd.texts import Texts

LARGE = 1_700_000  # images
MB = 1e6


def made_up(images: int, boxes: int) -> Annotations:
    rng = np.random.default_rng(0)
    starts = np.searchsorted(np.sort(rng.integers(0, images, boxes)), np.arange(images + 1))
    ids = [f"train2017/{number:012}.jpg" for number in range(images)]
    return Annotations(
        ids=Texts(ids),
        files=Texts(f"/data/coco/{id}" for id in ids),
        sizes=torch.tensor([[640, 480]]).repeat(images, 1),
        starts=torch.from_numpy(starts.astype(np.int64)),
        boxes=torch.from_numpy(np.sort(rng.uniform(0, 480, (boxes, 2, 2)), axis=1).reshape(-1, 4)),
        labels=torch.from_numpy(rng.integers(1, 81, boxes)),
        difficult=torch.zeros(boxes, dtype=torch.bool),
        crowd=torch.zeros(boxes, dtype=torch.bool),
    )


def memory() -> tuple[float, float]:
    """Private and proportional memory of this process, in MB."""
    fields = {}
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]:
        name, kilobytes, _ = line.split()
        fields[name] = int(kilobytes) * 1024 / MB
    return fields["Private_Dirty:"] + fields["Private_Clean:"], fields["Pss:"]


class Epochs(Dataset):
    """Item n is what worker n measures, before and after an epoch of its own."""

    def __init__(self, dataset: DetectionDataset) -> None:
        self.dataset = dataset

    def __getitem__(self, worker: int) -> list[tuple[float, float]]:
        annotations = self.dataset.annotations
        order = np.random.default_rng(worker).permutation(len(self.dataset))
        gc.collect()  # it writes to what it looks at, and would do so at some time
        measured = [memory()]
        for index in map(int, order):
            self.dataset.objects(index)
            assert annotations.files[index].endswith(annotations.ids[index])
        return [*measured, memory()]


def measured(annotations: Annotations, workers: int, start: str) -> list[np.ndarray]:
    """Of each worker: rows before and after, columns private and proportional, MB"""
    dataset = Epochs(DetectionDataset(annotations, (300, 300), None, True, True, seed=0))
    loader = DataLoader(
        dataset,
        batch_size=None,
        sampler=range(workers),
        num_workers=workers,
        prefetch_factor=1,
        multiprocessing_context=start,
        collate_fn=np.array,
    )
    return list(loader)


def size(texts: Sequence[str]) -> int:
    """Bytes that stay."""
    if isinstance(texts, Texts):
        return texts.bytes.nbytes + texts.starts.nbytes
    return sum(sys.getsizeof(text) + 8 for text in texts)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=118_000)
    parser.add_argument("--boxes", type=int, default=860_000)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    packed = made_up(given.images, given.boxes)
    listed = packed._replace(ids=list(packed.ids), files=list(packed.files))
    for start in ("fork", "forkserver"):
        for name, annotations in (("lists", listed), ("Texts", packed)):
            found = measured(annotations, given.workers, start)
            for worker, (before, after) in enumerate(found):
                print(
                    f"{start:10} {name} worker {worker}: private {before[0]:4.0f} MB, after an "
                    f"epoch {after[0]:4.0f}; proportional {before[1]:4.0f}, after {after[1]:4.0f}"
                )
            more = np.mean([after[0] - before[0] for before, after in found]) / given.images
            print(
                f"{start:10} {name}: an epoch adds {more * MB:.0f} bytes an image and worker, "
                f"{more * LARGE:.0f} MB for {LARGE} images"
            )
    columns = [column for column in packed if isinstance(column, torch.Tensor)]
    of_boxes = sum(column.nbytes for column in columns if len(column) == given.boxes)
    of_images = sum(column.nbytes for column in columns) - of_boxes
    print(f"columns: {of_boxes / given.boxes:.0f} bytes a box")
    for name, annotations in (("lists", listed), ("Texts", packed)):
        texts = size(annotations.ids) + size(annotations.files)
        per_image = (texts + of_images) / given.images
        print(
            f"{name}: {per_image:.0f} bytes an image, {per_image * LARGE / MB:.0f} MB for {LARGE}"
        )


if __name__ == "__main__":
    main()
