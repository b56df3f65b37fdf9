"""The metric of a pass over a split: it gathers the detections of batches and processes."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from ssd.metric.scores import ClassScores, Scores, score
from ssd.ops.precision import DetectionColumns
from ssd.records import BACKGROUND, Annotations, Detections


class DetectionMetric(Metric):
    """Average precision over a split, each image of which must come exactly once.

    `result` is what the last `compute` found, the same on every rank; it outlives `reset`.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    def __init__(self, annotations: Annotations, classes: list[str]) -> None:
        """classes: names without the background; class k has label k + 1"""
        super().__init__()
        self.annotations = annotations
        self.classes = classes
        self.result: Scores | None = None
        for name in self._no_rows():
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(self, detections: Detections, indices: Tensor) -> None:
        """indices: (B,) rows of the annotations, -1 for a repeat that must not count"""
        real = indices >= 0
        found = ((detections.labels != BACKGROUND) & real[:, None]).nonzero(as_tuple=True)
        self.seen.append(indices[real])
        self.images.append(indices[found[0]])
        self.labels.append(detections.labels[found])
        self.scores.append(detections.scores[found].float())
        self.boxes.append(detections.boxes[found].float())

    def sync(self, **options: Any) -> None:
        """A rank that got no batch takes part with no rows: the gathering needs type and shape."""
        for name, rows in self._no_rows().items():
            if len(getattr(self, name)) == 0:
                setattr(self, name, [rows.to(self.device)])
        super().sync(**options)

    def compute(self) -> dict[str, float]:
        """The summary of `result`; an error unless every image came once."""
        rows = {name: self._gathered(name, none) for name, none in self._no_rows().items()}
        _check_coverage(rows.pop("seen"), self.annotations.ids)
        order = torch.argsort(rows["images"], stable=True)  # as if one batch had brought all
        detections = DetectionColumns(**{name: column[order] for name, column in rows.items()})
        sizes = self.annotations.sizes[detections.images].repeat(1, 2)
        detections = detections._replace(boxes=detections.boxes.double() * sizes)
        self.result = score(self.annotations, self.classes, detections)
        return self.result.summary

    def table(self) -> list[ClassScores]:
        """A line per class, from the last `compute`."""
        if self.result is None:
            raise RuntimeError("the table comes from compute(), which has not run yet")
        return self.result.table

    def _gathered(self, name: str, none: Tensor) -> Tensor:
        state = getattr(self, name)  # a list of chunks, or one tensor once ranks are gathered
        chunks = [state] if isinstance(state, Tensor) else state
        return torch.cat([none, *(chunk.cpu() for chunk in chunks)])

    @staticmethod
    def _no_rows() -> dict[str, Tensor]:
        """Every state as it is without rows. Boxes are fractions of the image until `compute`."""
        integers = torch.zeros(0, dtype=torch.int64)  # also between ranks: float32 ends at 2**24
        return {
            "seen": integers,  # images, also those without detections
            "images": integers,
            "labels": integers,
            "scores": torch.zeros(0),
            "boxes": torch.zeros(0, 4),
        }


def _check_coverage(seen: Tensor, ids: Sequence[str]) -> None:
    """Raises unless every row of the split was seen once: each number would be another split's."""
    times = torch.bincount(seen, minlength=len(ids))
    for what, wrong in (("were never seen", times == 0), ("were seen more than once", times > 1)):
        rows = wrong.nonzero().squeeze(1).tolist()
        if rows:
            names = ", ".join(ids[row] for row in rows[:3]) + (", ..." if len(rows) > 3 else "")
            raise RuntimeError(
                f"a score needs every image of the split once, but {len(rows)} of {len(ids)} "
                f"{what}: {names}; call reset() before a pass and compute() after a whole one"
            )
