"""One image with its objects, written in each format."""

import json
from pathlib import Path

from files import SIZE, write
from voc import annotation

Corners = tuple[float, float, float, float]  # xyxy pixels, 0-based and half-open

IMAGE = {
    "voc": "JPEGImages/a.png",
    "coco": "train/a.png",
    "yolo": "images/a.png",
    "csv": "images/a.png",
}
ANNOTATION = {  # the file that holds the boxes
    "voc": "Annotations/a.xml",
    "coco": "annotations/instances_train.json",
    "yolo": "labels/a.txt",
    "csv": "train.csv",
}
HEADER = "filename,class,xmin,ymin,xmax,ymax\n"
LISTS = {
    "voc": {"ImageSets/Main/train.txt": "a\n"},
    "coco": {},
    "yolo": {"data.yaml": "train: images\nnames: [dog]\n"},
    "csv": {},
}


def write_dogs(root: Path, format: str, *boxes: Corners) -> Path:
    """A split `train` of one image of SIZE, whose objects are dogs."""
    content = {"voc": voc, "coco": coco, "yolo": yolo, "csv": csv}[format](boxes)
    return write(root, {IMAGE[format]: None, ANNOTATION[format]: content, **LISTS[format]})


def voc(boxes: tuple[Corners, ...]) -> str:
    return annotation([("dog", x1 + 1, y1 + 1, x2, y2) for x1, y1, x2, y2 in boxes])


def coco(boxes: tuple[Corners, ...]) -> str:
    objects = [
        {"id": id, "image_id": 1, "category_id": 1, "bbox": [x1, y1, x2 - x1, y2 - y1]}
        for id, (x1, y1, x2, y2) in enumerate(boxes)
    ]
    images, categories = [{"id": 1, "file_name": "a.png"}], [{"id": 1, "name": "dog"}]
    return json.dumps({"images": images, "annotations": objects, "categories": categories})


def yolo(boxes: tuple[Corners, ...]) -> str:
    width, height = SIZE
    return "".join(
        f"0 {(x1 + x2) / 2 / width} {(y1 + y2) / 2 / height} "
        f"{(x2 - x1) / width} {(y2 - y1) / height}\n"
        for x1, y1, x2, y2 in boxes
    )


def csv(boxes: tuple[Corners, ...]) -> str:
    return HEADER + "".join(f"a.png,dog,{x1},{y1},{x2},{y2}\n" for x1, y1, x2, y2 in boxes)
