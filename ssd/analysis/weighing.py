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
    num_truths = _sums(truth_images, torch.zeros(1, dtype=torch.int64), weights).double()  # (R, 1)
    places = right.any(0).nonzero().squeeze(1)  # (P,) where a curve can rise
    its_weights = weights[images[places]].T.contiguous().double()
    counted = _counts(images, places, weights)
    rows = []
    for its_right, its_ignored in zip(right, ignored, strict=True):
        mine = its_right[places].nonzero().squeeze(1)
        total = counted.index_select(1, mine)
        spared = its_ignored.nonzero().squeeze(1)
        if len(spared):
            before = torch.searchsorted(spared, places[mine], right=True) - 1
            total = total - _counts(images[spared], before, weights)
        rows.append(_mean_precision(its_weights.index_select(1, mine), total, num_truths, rule))
    return torch.stack(rows).where(num_truths.T > 0, torch.nan)


def _counts(images: Tensor, places: Tensor, weights: Tensor) -> Tensor:
    """(R, P) float64: how much the detections up to and with each place weigh; -1 is before all.

    images: (n,), places: (P,) never falling
    """
    starts = torch.cat([places.new_zeros(min(len(places), 1)), places[:-1] + 1])
    ends = int(places[-1]) + 1 if len(places) else 0
    return _sums(images[:ends], starts, weights).double().cumsum(1)


def _sums(images: Tensor, starts: Tensor, weights: Tensor) -> Tensor:
    """(R, P) sums of the weights of the images from each start to the next."""
    if not len(images) or not len(starts):
        return weights.new_zeros(weights.shape[1], len(starts))
    return embedding_bag(images, weights, starts, mode="sum").T.contiguous()


def _mean_precision(weights: Tensor, counted: Tensor, num_truths: Tensor, rule: Rule) -> Tensor:
    """(R,) from the weights (R, P) of what is right, all that counts up to and with it (R, P), and
    the truths (R, 1)."""
    num_right = weights.cumsum(1)
    precision = num_right / counted.clamp(min=1)
    envelope = precision.flip(1).cummax(1).values.flip(1) if precision.shape[1] else precision
    if rule == "area":
        return (envelope * weights).sum(1) / num_truths[:, 0]
    points = recalls({"11-point": 11, "101-point": 101}[rule])
    reached = torch.bucketize(num_right / num_truths, points, right=True)  # points up to a recall
    new = reached.diff(dim=1, prepend=torch.zeros_like(reached[:, :1]))
    return (envelope * new).sum(1) / len(points)
