"""Time and memory of reading a data set as large as COCO's train2017, made up for it.

    python benchmarks/read_annotations.py [--images 118000] [--boxes 860000] [--points 24]

The JSON file has polygons of so many points, as COCO's; the images are one small JPEG under many
names, so their headers come from the page cache. Prints the processor's seconds for the JSON file
and for the headers, the peak of resident memory meanwhile, and what stays of it. The last line is
what 1.7 million images with 15 million boxes would take at the same rates. For the memory of
data-loading workers, see worker_memory.py.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent.parent))

from ssd.data.checks import POLICIES, Report
from ssd.data.coco.files import image_folders
from ssd.data.coco.table import Table
from ssd.data.columns import Columns, to_annotations
from ssd.records import Annotations

SIZE = (640, 480)
CLASSES = 80
LINKS = 30_000  # of one file; file systems allow 65,000 and fewer
LARGE = {"images": 1_700_000, "boxes": 15_000_000}
MB = 1e6


def write_images(root: Path, names: list[str]) -> None:
    folder = root / "train2017"
    folder.mkdir()
    for start in range(0, len(names), LINKS):
        first = folder / names[start]
        Image.new("RGB", SIZE, "gray").save(first, quality=30)
        for name in names[start + 1 : start + LINKS]:
            os.link(first, folder / name)


def write_json(root: Path, names: list[str], boxes: int, points: int) -> Path:
    rng = np.random.default_rng(0)
    polygons = [json.dumps([rng.uniform(0, 480, 2 * points).round(2).tolist()]) for _ in range(999)]
    path = root / "annotations" / "instances_train2017.json"
    path.parent.mkdir()
    images = rng.integers(0, len(names), boxes).tolist()
    labels = rng.integers(1, CLASSES + 1, boxes).tolist()
    corners = rng.uniform(1, 300, (boxes, 4)).round(2).tolist()
    with path.open("w") as file:
        file.write('{"info": {}, "images": [')
        file.write(
            ", ".join(
                f'{{"license": 3, "file_name": "{name}", "coco_url": "", "height": {SIZE[1]}, '
                f'"width": {SIZE[0]}, "date_captured": "2013-11-14 11:18:45", "id": {id}}}'
                for id, name in enumerate(names)
            )
        )
        file.write('], "annotations": [')
        for id in range(boxes):
            file.write(
                f'{", " * (id > 0)}{{"segmentation": {polygons[id % 999]}, "area": 702.1057, '
                f'"iscrowd": 0, "image_id": {images[id]}, "bbox": {corners[id]}, '
                f'"category_id": {labels[id]}, "id": {id}}}'
            )
        categories = [{"id": label, "name": f"class {label}"} for label in range(1, CLASSES + 1)]
        file.write(f'], "categories": {json.dumps(categories)}}}')
    return path


def status(field: str) -> float:
    """A field of this process's /proc status, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024 / MB


def read(root: Path, path: Path) -> tuple[Annotations, dict[str, float]]:
    report = Report(dict.fromkeys(POLICIES, "raise"))
    seconds = {}
    start = time.process_time()
    table, columns = Table(path, report, first_pixel=0), Columns()
    table.parse()
    seconds["JSON"] = time.process_time() - start
    start = time.process_time()
    columns.extend(table.records(root, image_folders(root, "train2017", path)))
    seconds["headers and checks"] = time.process_time() - start
    start = time.process_time()
    records = columns.close()
    annotations = to_annotations(records, records.class_names(), report)
    seconds["columns to tensors"] = time.process_time() - start
    return annotations, seconds


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=118_000)
    parser.add_argument("--boxes", type=int, default=860_000)
    parser.add_argument("--points", type=int, default=24)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        names = [f"{number:012}.jpg" for number in range(given.images)]
        write_images(root, names)
        path = write_json(root, names, given.boxes, given.points)
        print(f"{given.images} images, {given.boxes} boxes, {path.stat().st_size / MB:.0f} MB")
        Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
        before = status("VmRSS")
        annotations, seconds = read(root, path)
    for what, value in seconds.items():
        print(f"{what:20} {value:6.1f} s")
    print(f"{'all':20} {sum(seconds.values()):6.1f} s")
    peak = status("VmHWM") - before
    print(f"peak                 {peak:6.0f} MB above {before:.0f} MB")

    tensors = [column for column in annotations if isinstance(column, torch.Tensor)]
    of_boxes = sum(column.nbytes for column in tensors if len(column) == given.boxes)
    of_images = sum(column.nbytes for column in tensors) - of_boxes
    of_images += sum(t.bytes.nbytes + t.starts.nbytes for t in (annotations.ids, annotations.files))
    print(f"stays                {(of_boxes + of_images) / MB:6.0f} MB")
    per_box, per_image = of_boxes / given.boxes, of_images / given.images
    print(f"                     {per_box:.0f} bytes a box, {per_image:.0f} bytes an image")

    images, boxes = LARGE["images"], LARGE["boxes"]
    more, more_images = boxes / given.boxes, images / given.images
    time_large = seconds["JSON"] * more + seconds["headers and checks"] * more_images
    print(
        f"{images} images, {boxes} boxes: about {time_large:.0f} s, "
        f"{(per_box * boxes + per_image * images) / MB:.0f} MB that stay, "
        f"a peak of {peak * more:.0f} MB"
    )


if __name__ == "__main__":
    main()
