"""Average precision where each image counts as often as its weight says."""

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from ssd.analysis.judging import Judged
from ssd.ops.precision import Rule, recalls


def weighed_precision(judged: Judged, num_classes: int, weights: Tensor, rule: Rule) -> Tensor:
    """The average precision of R weighings: as of a split with each image that many times in it,
    where no two detections of a class have the same score.

    Between two detections that are right somewhere nothing needs to be known but how many there
    are, so the curves have a place for each truth and not for each detection.

    weights: (I, R) float32 whole numbers; all one give `ops.precision.average_precision`
    returns: (T, C - 1, R) float64; nan where a class has no truths
    """
    order = torch.argsort(judged.truth_labels, stable=True)
    num_truths = torch.bincount(judged.truth_labels, minlength=num_classes).tolist()
    truth_images = judged.truth_images[order].split(num_truths)
    sizes = torch.bincount(judged.labels, minlength=num_classes).tolist()
    images = judged.images.split(sizes)
    right, ignored = (column.split(sizes, dim=1) for column in (judged.right, judged.ignored))
    columns = (images, right, ignored, truth_images)
    classes = [
        _class_precision(*each, weights, rule) for each in list(zip(*columns, strict=True))[1:]
    ]
    none = weights.new_zeros(len(judged.right), 0, weights.shape[1], dtype=torch.float64)
    return torch.stack(classes, dim=1) if classes else none


def _class_precision(
    images: Tensor,
    right: Tensor,
    ignored: Tensor,
    truth_images: Tensor,
    weights: Tensor,
    rule: Rule,
) -> Tensor:
    """(T, R) of one class. images: (n,); right, ignored: (T, n); truth_images: (g,)"""
    num_truths = _sums(truth_images, torch.zeros(1, dtype=torch.int64), weights)[0].double()
    places = right.any(0).nonzero().squeeze(1)  # (P,) where a curve can rise
    its_weights = weights[images[places]].double()
    counted = _counts(images, places, weights)
    rows = []
    for its_right, its_ignored in zip(right, ignored, strict=True):
        gains = its_weights * its_right[places, None]
        spared = its_ignored.nonzero().squeeze(1)
        total = counted
        if len(spared):
            before = torch.searchsorted(spared, places, right=True) - 1
            total = counted - _counts(images[spared], before, weights)
        rows.append(_area(gains, total, num_truths, rule))
    return torch.stack(rows).where(num_truths > 0, torch.nan)


def _counts(images: Tensor, places: Tensor, weights: Tensor) -> Tensor:
    """(P, R) float64: how much the detections up to and with each place weigh; -1 is before all.

    images: (n,), places: (P,) never falling
    """
    starts = torch.cat([places.new_zeros(min(len(places), 1)), places[:-1] + 1])
    ends = int(places[-1]) + 1 if len(places) else 0
    return _sums(images[:ends], starts, weights).double().cumsum(0)


def _sums(images: Tensor, starts: Tensor, weights: Tensor) -> Tensor:
    """(P, R) sums of the weights of the images from each start to the next."""
    if not len(images) or not len(starts):
        return weights.new_zeros(len(starts), weights.shape[1])
    return embedding_bag(images, weights, starts, mode="sum")


def _area(gains: Tensor, counted: Tensor, num_truths: Tensor, rule: Rule) -> Tensor:
    """(R,) from what is right at each place (P, R) and all that counts up to it (P, R)."""
    num_right = gains.cumsum(0)
    precision = num_right / counted.clamp(min=1)
    envelope = precision.flip(0).cummax(0).values.flip(0) if len(gains) else precision
    if rule == "area":
        return (envelope * gains).sum(0) / num_truths
    points = recalls({"11-point": 11, "101-point": 101}[rule])
    reached = torch.bucketize(num_right / num_truths, points, right=True)  # points up to a recall
    new = reached.diff(dim=0, prepend=torch.zeros_like(reached[:1]))
    return (envelope * new).sum(0) / len(points)
