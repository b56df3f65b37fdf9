"""Predictions to detections, beside torchvision's post-processing, of the same predictions."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor
from torchvision.models.detection import ssd300_vgg16

from benchmarks.configuring import ssd300
from benchmarks.timing import DEVICE, OURS, Timed, in_turn
from ssd.ops.boxes import to_xyxy
from ssd.ops.detecting import detect
from ssd.records import Detections, Predictions

BATCH, SIDE = 8, 300
CLASSES = (21, 81, 366)
# how sure the network is of background, in logits: trained well, halfway, and not at all
SCENES = {"sharp": 10.5, "medium": 7.0, "worst": 0.0}
CONFIDENT = 60  # anchors that see an object, but in the worst case


def measure(rounds: int) -> Iterator[Timed]:
    anchors = ssd300(2).anchors.to(DEVICE)
    settings = {
        "score_threshold": 0.01,
        "candidates_per_class": 400,
        "iou_threshold": 0.45,
        "detections_per_image": 200,
    }
    ours = partial(detect, anchors=anchors, clip_boxes=True, **settings)
    for classes in CLASSES:
        for scene in SCENES:
            predictions = make_predictions(len(anchors), classes, scene)
            theirs = torchvisions(classes, anchors, predictions, settings)
            sides = {OURS: partial(ours, predictions), "torchvision": theirs}
            check(*(side() for side in sides.values()))
            case = f"{classes} classes, {scene}"
            yield in_turn("detections", case, "images", BATCH, sides, rounds)


def make_predictions(anchors: int, classes: int, scene: str) -> Predictions:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(BATCH, anchors, classes, generator=generator)
    logits[..., 0] += SCENES[scene]
    if scene != "worst":
        for image in logits:
            sure = torch.randperm(anchors, generator=generator)[:CONFIDENT]
            label = torch.randint(1, classes, (CONFIDENT,), generator=generator)
            image[sure, label] += 12 * torch.rand(CONFIDENT, generator=generator) + 6
    offsets = torch.randn(BATCH, anchors, 4, generator=generator)
    return Predictions(logits.to(DEVICE), offsets.to(DEVICE))


def torchvisions(
    classes: int, anchors: Tensor, predictions: Predictions, settings: dict[str, float]
) -> Callable[[], list[dict[str, Tensor]]]:
    model = ssd300_vgg16(
        weights=None,
        weights_backbone=None,
        num_classes=classes,
        score_thresh=settings["score_threshold"],
        topk_candidates=settings["candidates_per_class"],
        nms_thresh=settings["iou_threshold"],
        detections_per_img=settings["detections_per_image"],
    )
    corners = [to_xyxy(anchors) * SIDE] * BATCH
    head = {"cls_logits": predictions.logits, "bbox_regression": predictions.offsets}
    return lambda: model.postprocess_detections(head, corners, [(SIDE, SIDE)] * BATCH)


def check(ours: Detections, theirs: list[dict[str, Tensor]]) -> None:
    """Both sides found the same."""
    for image, found in enumerate(theirs):
        count = len(found["scores"])
        kept = ours.scores[image] > 0
        assert int(kept.sum()) == count, (int(kept.sum()), count)
        # sorted: scores that differ by rounding alone may change places
        assert sorted(ours.labels[image, :count].tolist()) == sorted(found["labels"].tolist())
        boxes = (ours.boxes[image, :count] * SIDE).sort(dim=0).values
        torch.testing.assert_close(boxes, found["boxes"].sort(dim=0).values, rtol=0, atol=0.01)
        torch.testing.assert_close(
            ours.scores[image, :count], found["scores"], rtol=1e-5, atol=1e-6
        )
