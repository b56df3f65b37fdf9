"""One stored set of predictions, scored by our rules and by pycocotools.

    python benchmarks/same_ap.py RUN_FOLDER

Reads predictions.json and ground_truth.json of a run. COCO's numbers come from pycocotools in both
columns: ours from results.json, the other from the two files by pycocotools' own loader. Below,
AP at IoU .50 by COCO's 101 points: our curves beside COCOeval's. The two rules part where a
detection's best truth is taken and a next one is free: COCO then gives it the next.
"""

import json
import sys
from pathlib import Path

import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

sys.path.insert(0, str(Path(__file__).parent.parent))

from ssd.ops.precision import DetectionColumns, TruthColumns, average_precision, precision_recall

NAMES = ("map", "map_50", "map_75", "map_small", "map_medium", "map_large")


def corners(records: list[dict]) -> torch.Tensor:
    boxes = torch.tensor([record["bbox"] for record in records], dtype=torch.float64)
    return torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], dim=1)


def main(folder: Path) -> None:
    truth = COCO(str(folder / "ground_truth.json"))
    coco = COCOeval(truth, truth.loadRes(str(folder / "predictions.json")), "bbox")
    coco.evaluate()
    coco.accumulate()
    coco.summarize()
    results = json.loads((folder / "results.json").read_text())
    for name, theirs in zip(NAMES, coco.stats, strict=False):
        ours = results[f"test/{name}"]
        if ours is not None:
            print(f"{name:12} {ours:.12f} {theirs:.12f} {abs(ours - theirs):.1e}")

    truths = json.loads((folder / "ground_truth.json").read_text())["annotations"]
    found = json.loads((folder / "predictions.json").read_text())
    curves = precision_recall(
        TruthColumns(
            images=torch.tensor([t["image_id"] for t in truths]),
            labels=torch.tensor([t["category_id"] for t in truths]),
            boxes=corners(truths),
            difficult=torch.tensor([t["iscrowd"] for t in truths]).bool(),
        ),
        DetectionColumns(
            images=torch.tensor([d["image_id"] for d in found]),
            labels=torch.tensor([d["category_id"] for d in found]),
            scores=torch.tensor([d["score"] for d in found], dtype=torch.float64),
            boxes=corners(found),
        ),
        num_classes=len(truth.getCatIds()) + 1,
        iou_threshold=0.5,
    )
    theirs = coco.eval["precision"][0, :, :, 0, -1].mean(axis=0)
    for name, ours, other in zip(
        (c["name"] for c in truth.loadCats(truth.getCatIds())),
        average_precision(curves, "101-point").tolist(),
        theirs,
        strict=True,
    ):
        print(f"AP@.50 {name:12} {ours:.12f} {other:.12f} {abs(ours - other):.1e}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
