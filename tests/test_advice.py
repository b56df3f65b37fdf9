from collections.abc import Sequence
from typing import Any

import pytest
import torch
from test_statistics import Marked, annotated, square

from ssd.data.checks import Fault
from ssd.doctor.advice import advise, spelled_alike
from ssd.doctor.copies import Copy
from ssd.doctor.fitting import Fit
from ssd.doctor.reach import reach
from ssd.doctor.statistics import describe

CLASSES = ["cat", "dog"]
ANCHORS = torch.tensor([[0.5, 0.5, 0.2, 0.2]])
CAT, DOG = ((label, square(150, 150, 60)) for label in (1, 2))
GOOD = [[CAT], [DOG]] * 60
BAD_BOX = Fault("bad_box", "a.xml: object 1 (cat): no width or height")


def advice(
    train: Sequence[Sequence[Marked]] = GOOD,
    val: Sequence[Sequence[Marked]] = GOOD[:10],
    size: tuple[int, int] = (300, 300),
    **changes: Any,
) -> list[str]:
    """On images of which each is as large as the input, and fits the anchors, unless changed."""
    stages = {"train": train, "val": val, "test": GOOD[:10]}
    annotations = {stage: annotated(images, size) for stage, images in stages.items()}
    found = reach(annotations["train"], CLASSES, ANCHORS, (300, 300), 0.5, True, True)
    given = {"faults": [], "copies": [], "batch_size": 16, "finer_levels": 0, "fit": None}
    statistics = {stage: describe(one, CLASSES) for stage, one in annotations.items()}
    return advise(statistics, found, **{**given, **changes})


def test_about_good_data_nothing_is_said() -> None:
    assert advice() == []


def test_a_class_that_anchors_miss_asks_for_a_fit() -> None:
    poor = [[CAT]] * 60 + [[(2, square(150, 150, 30))]] * 60
    (said,) = [line for line in advice(poor) if "fit=true" in line]
    assert "reach 0% of the boxes of dog" in said


def test_a_fit_gives_its_override() -> None:
    measured = reach(annotated(GOOD), CLASSES, ANCHORS, (300, 300), 0.5, True, True)
    fit = Fit("model.anchor_sizes=[1,2]", [1, 2], None, {**measured, "recall": 0.5}, measured)
    assert advice(fit=fit) == [
        "anchors that reach 100.0% of the boxes, not 50.0%: model.anchor_sizes=[1,2]"
    ]


def test_what_no_sizes_reach_asks_for_a_finer_level() -> None:
    one = [[(1, square(150, 150, 45))]] * 120
    poor = reach(annotated(one), CLASSES, ANCHORS, (300, 300), 0.6, True, True)
    (said,) = [line for line in advice(fit=Fit("", [], None, poor, poor)) if "fit=true" in line]
    assert "reach 0% of the boxes of cat: try model.finer_levels=1" in said


def test_boxes_below_all_anchors_ask_for_a_finer_level() -> None:
    small = [[(1 + i % 2, square(150, 150, 40))] for i in range(120)]
    said = "\n".join(advice(small))
    assert "smaller than 42 pixels of the input" in said
    assert "model.finer_levels=1" in said
    assert "finer_levels" not in "\n".join(advice(small, finer_levels=1))


def test_tiny_boxes_of_large_images_ask_for_a_larger_input() -> None:
    tiny = [[(1 + i % 2, square(500, 500, 20))] for i in range(120)]  # 6 pixels of the input
    assert "model.image_size=800" in "\n".join(advice(tiny, size=(1000, 1000)))  # 16 there
    tiny = [[(1 + i % 2, square(100, 100, 6))] for i in range(120)]
    said = "\n".join(advice(tiny))
    assert "would show no more" in said
    assert "image_size" not in said


def test_wide_images_ask_for_a_wide_input() -> None:
    wide = [[(1 + i % 2, square(400, 150, 120))] for i in range(120)]
    assert "model.image_size=[224,416]" in "\n".join(advice(wide, size=(1200, 600)))


def test_a_batch_larger_than_the_images_is_made_smaller() -> None:
    assert "data.batch_size=64" in "\n".join(advice(batch_size=200))


def test_missing_validation_is_said() -> None:
    (said,) = advice(val=[])
    assert "data.val_split=auto" in said


def test_rare_and_absent_classes_are_named() -> None:
    said = "\n".join(advice([*GOOD[::2], [DOG]] + [[CAT]] * 50))
    assert "few training boxes of dog (1)" in said
    said = "\n".join(advice([[CAT]] * 100))
    assert "data.classes=[cat] data.unknown_class=drop" in said
    assert "val holds no dog" in "\n".join(advice(val=[[CAT]]))


def test_mostly_empty_images_are_said() -> None:
    (said,) = advice([*GOOD, *[[]] * 130])
    assert said.startswith("130 of 250 training images hold no object")


def test_copies_in_two_splits_are_said_first_and_by_pair() -> None:
    leak, twice = (Copy("near", "train", "a.jpg", stage, "b.jpg") for stage in ("val", "train"))
    said = advice(val=[], copies=[leak, twice, leak])
    assert said[0].startswith("2 images of val are copies of images of train")
    assert said[1].startswith("1 images of train are copies of others there")


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        ([BAD_BOX] * 3, "training stops"),
        ([Fault("bad_image", "a.jpg: torn")], "data.bad_image=drop"),
        ([Fault("bad_annotation", "a.xml: not XML")], "mend the files"),
    ],
)
def test_faults_have_cures(faults: list[Fault], message: str) -> None:
    assert message in advice(faults=faults)[0]


def test_a_box_in_a_thousand_may_be_faulty() -> None:
    many = [[CAT, DOG] * 5] * 100
    assert "leaves them out by itself" in advice(many, faults=[BAD_BOX])[0]


def test_classes_that_differ_in_case_or_spaces_are_said() -> None:
    pairs = spelled_alike({"Traffic Light": 5, "traffic-light": 9, "cat": 3, "dog": 3})
    assert list(pairs) == [("Traffic Light", "traffic-light")]


def test_without_training_images_no_class_is_advised_away() -> None:
    assert "data.classes=" not in "\n".join(advice([]))
