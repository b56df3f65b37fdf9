"""TIDE's errors and their costs from the text of the paper (Bolya et al., ECCV 2020, sections 2 and
3), a detection at a time. Where the paper is silent: as the authors' package tidecv 1.0.1 does it.
"""

from typing import Any

import numpy as np

from ssd.ops.precision import DetectionColumns, TruthColumns

FOREGROUND, BACKGROUND = 0.5, 0.1
KINDS = ("class", "location", "both", "duplicate", "background", "missed")

Row = dict[str, Any]


def tide(true: TruthColumns, found: DetectionColumns) -> dict[str, Any]:
    """kinds: per detection, None for the right and "out" for those beyond an image's best 100;
    about: per detection the row of a truth or None; ignored: per detection; missed: rows of truths;
    ap: of all; costs: of each kind, and of false positives and negatives"""
    truths = _rows(true, "image", "label", "box", "difficult")
    detections = _rows(found, "image", "label", "score", "box")
    for image in sorted({row["image"] for row in truths + detections}):
        _find_errors(
            *([row for row in rows if row["image"] == image] for rows in (truths, detections))
        )
    return {
        "kinds": [row["kind"] for row in detections],
        "about": [row["about"] and row["about"]["row"] for row in detections],
        "ignored": [row["ignored"] for row in detections],
        "missed": [row["row"] for row in truths if _is_missed(row)],
        **_costs(truths, detections),
    }


def _rows(columns: TruthColumns | DetectionColumns, *names: str) -> list[Row]:
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [{"row": i, **dict(zip(names, row, strict=True))} for i, row in enumerate(rows)]


def _overlap(box: list[float], other: list[float], crowd: bool = False) -> float:
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    area, other_area = ((b[2] - b[0]) * (b[3] - b[1]) for b in (box, other))
    return width * height / (area if crowd else area + other_area - width * height)


def _find_errors(truths: list[Row], detections: list[Row]) -> None:
    """Of one image."""
    easy = [truth for truth in truths if not truth["difficult"]]
    for truth in truths:
        truth.update(found=False, errors=[])
    for detection in detections:
        detection.update(kind="out", about=None, ignored=False)
    best = sorted(detections, key=lambda row: -row["score"])[:100]
    for detection in best:
        own = [truth for truth in easy if truth["label"] == detection["label"]]
        free = [truth for truth in own if not truth["found"]]
        truth = _nearest(detection, free)
        detection["kind"] = "wrong"
        if truth and _overlap(detection["box"], truth["box"]) >= FOREGROUND:
            truth["found"] = True
            detection.update(kind=None, about=truth)
    for detection in best:
        if detection["kind"] is not None:
            _name_error(detection, easy)
            detection["ignored"] = any(
                truth["difficult"]
                and truth["label"] == detection["label"]
                and _overlap(detection["box"], truth["box"], crowd=True) > FOREGROUND
                for truth in truths
            )


def _nearest(detection: Row, truths: list[Row]) -> Row | None:
    return max(truths, key=lambda truth: _overlap(detection["box"], truth["box"]), default=None)


def _name_error(detection: Row, truths: list[Row]) -> None:
    def nearest(rows: list[Row]) -> tuple[Row | None, float]:
        truth = _nearest(detection, rows)
        return truth, _overlap(detection["box"], truth["box"]) if truth else 0.0

    own, own_iou = nearest([row for row in truths if row["label"] == detection["label"]])
    other, other_iou = nearest([row for row in truths if row["label"] != detection["label"]])
    if BACKGROUND <= own_iou <= FOREGROUND:
        detection.update(kind="location", about=own)
        own["errors"].append(detection)
    elif other_iou >= FOREGROUND:
        detection.update(kind="class", about=other)
        other["errors"].append(detection)
    elif own_iou >= FOREGROUND:
        detection.update(kind="duplicate", about=own)
    elif other_iou > BACKGROUND:
        detection.update(kind="both", about=other)
    else:
        detection.update(kind="background")


def _is_missed(truth: Row) -> bool:
    return not (truth["difficult"] or truth["found"] or truth["errors"])


def _costs(truths: list[Row], detections: list[Row]) -> dict[str, Any]:
    """AP of all, and how much higher it is with one kind of error corrected at a time."""
    inside = [row for row in detections if row["kind"] != "out"]
    to_find = [truth["label"] for truth in truths if not truth["difficult"]]
    lost = [truth["label"] for truth in truths if not (truth["difficult"] or truth["found"])]
    missed = [truth["label"] for truth in truths if _is_missed(truth)]
    points = [
        (row["label"], row["score"], row["kind"] is None) for row in inside if not row["ignored"]
    ]
    now = _mean_ap(points, to_find)
    costs = {}
    for kind in KINDS[:-1]:
        mended = []
        for row in inside:
            if row["kind"] != kind:
                if not row["ignored"]:
                    mended.append((row["label"], row["score"], row["kind"] is None))
            elif kind in ("class", "location") and not row["about"]["found"]:
                best = max(row["about"]["errors"], key=lambda error: error["score"])
                if best is row:  # the others would find the same truth again
                    mended.append((row["about"]["label"], row["score"], True))
        costs[kind] = max(_mean_ap(mended, to_find) - now, 0)
    costs["missed"] = max(_mean_ap(points, _less(to_find, missed)) - now, 0)
    last = [(label, float(right), right) for label, _, right in points]
    costs["false_positives"] = _mean_ap(last, to_find) - now
    costs["false_negatives"] = _mean_ap(points, _less(to_find, lost)) - now
    return {"ap": now, "costs": costs}


def _less(labels: list[int], fewer: list[int]) -> list[int]:
    rest = list(labels)
    for label in fewer:
        rest.remove(label)
    return rest


def _mean_ap(points: list[tuple[int, float, bool]], to_find: list[int]) -> float:
    """Of points (label, score, right) without ties."""
    values = []
    for label in sorted({point[0] for point in points} | set(to_find)):
        ranked = sorted((point for point in points if point[0] == label), key=lambda p: -p[1])
        rights = np.cumsum([point[2] for point in ranked])
        number = to_find.count(label)
        curve = [(r / number if number else 0, r / (i + 1)) for i, r in enumerate(rights)]
        best = [max((p for r, p in curve if r >= t / 100), default=0) for t in range(101)]
        values.append(np.mean(best) if number else 0)
    return float(np.mean(values))
