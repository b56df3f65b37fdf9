"""Which class is taken for which."""

import torch
from torch import Tensor

from ssd.analysis.finding import choosing_order, find_truths, inside_difficult
from ssd.analysis.overlaps import claimed
from ssd.ops.precision import DetectionColumns, TruthColumns


def confusion_matrix(
    truths: TruthColumns,
    detections: DetectionColumns,
    num_classes: int,
    score_threshold: float,
    iou_threshold: float,
) -> Tensor:
    """How many objects of each class were detected as which class.

    Detections with a score below the threshold are left out. First each of the others, by falling
    score, finds the free truth of its own class that it overlaps most; then each that is left over
    takes, again by falling score, the free truth of another class that it overlaps most; always
    with an IoU of at least `iou_threshold`. So the diagonal counts what is right, and an object is
    confused only where nobody named it rightly. Difficult truths count nowhere, nor do detections
    that are not right and have more than `iou_threshold` of their area inside one of their class.

    num_classes: C, the background included
    returns: (C, C) int64, rows the truth, columns the detection; row 0 holds detections without a
        truth, column 0 truths without a detection, [0, 0] is 0
    """
    order = choosing_order(detections)
    order = order[detections.scores[order] >= score_threshold]
    ranked = DetectionColumns(*(column[order] for column in detections))
    pairs, found = find_truths(truths, ranked, iou_threshold, iou_threshold)
    detection_left = ~inside_difficult(truths, ranked, iou_threshold)
    detection_left[pairs.detections[found]] = False
    truth_left = ~truths.difficult
    truth_left[pairs.truths[found]] = False

    rest = pairs.where(detection_left[pairs.detections] & truth_left[pairs.truths])
    confused = rest.where(claimed(rest, shared=torch.zeros_like(truth_left)))
    detection_left[confused.detections] = False
    truth_left[confused.truths] = False

    right = pairs.where(found)
    background = torch.zeros(num_classes, num_classes, dtype=torch.int64)
    background[0] = torch.bincount(ranked.labels[detection_left], minlength=num_classes)
    background[:, 0] = torch.bincount(truths.labels[truth_left], minlength=num_classes)
    cells = [
        truths.labels[each.truths] * num_classes + ranked.labels[each.detections]
        for each in (right, confused)
    ]
    counts = torch.bincount(torch.cat(cells), minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes) + background
