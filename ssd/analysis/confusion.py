"""Which class is taken for which."""

from torch import Tensor

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
    confused only where nobody named it rightly. Difficult truths count nowhere, and detections
    without a truth that are mostly inside one of their class do not count either.

    num_classes: C, the background included
    returns: (C, C) int64, rows the truth, columns the detection; row 0 holds detections without a
        truth, column 0 truths without a detection, [0, 0] is 0
    """
    raise NotImplementedError
