from pathlib import Path

import numpy as np
import pytest
import torch
from test_transforms import COVERING, SETTINGS
from voc import POLICIES, annotation, read_records, write_annotation, write_voc

from ssd.data.checks import Report
from ssd.data.columns import to_annotations
from ssd.data.dataset import DetectionDataset, collate
from ssd.data.transforms import Augmentation

CAT, DOG = ("cat", 1, 1, 30, 40), ("dog", 31, 1, 60, 20)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_voc(tmp_path, {"train": {"a": [CAT, DOG], "bb": [], "ccc": [CAT]}})


def dataset(
    root: Path, keep_difficult: bool = True, seed: int = 0, **changes: object
) -> DetectionDataset:
    records = read_records(root)
    columns = to_annotations(records, records.class_names(), Report(POLICIES))
    augmentation = Augmentation(**{**SETTINGS, **changes})
    return DetectionDataset(columns, (32, 48), augmentation, keep_difficult, True, seed)


def test_a_plain_sample_is_the_resized_image_with_its_boxes(root: Path) -> None:
    sample = dataset(root)[0]
    assert sample["image"].shape == (3, 32, 48)
    assert sample["image"].dtype == torch.uint8
    assert sample["boxes"].tolist() == [[0, 0, 0.5, 1], [0.5, 0, 1, 0.5]]
    assert sample["labels"].tolist() == [1, 2]


def test_a_sample_is_a_pure_function_of_seed_epoch_and_index(root: Path) -> None:
    one, again, other = dataset(root), dataset(root), dataset(root, seed=1)
    one[5, 2]  # what was read before must not matter
    assert all(torch.equal(one[3, 0][key], again[3, 0][key]) for key in ("image", "boxes"))
    images = [one[0, 0]["image"], one[1, 0]["image"], other[0, 0]["image"]]
    assert not torch.equal(images[0], images[1])
    assert not torch.equal(images[0], images[2])


def test_the_crop_decides_which_objects_stay(root: Path) -> None:
    data = dataset(root, zoom_out=0, crop=COVERING)
    boxes, labels, _ = data.objects(0)
    for epoch in range(40):
        window = data.augmentation.window(boxes, (60, 40), np.random.default_rng((0, epoch, 0)))
        low, high = np.maximum(boxes[:, :2], window[:2]), np.minimum(boxes[:, 2:], window[2:])
        shares = (high - low).clip(0).prod(axis=1) / (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
        assert data[epoch, 0]["labels"].tolist() == labels[shares > 0.5].tolist()


def test_augmentation_does_not_change_the_annotations(root: Path) -> None:
    data = dataset(root)
    before = data.annotations.boxes.clone()
    for epoch in range(20):
        data[epoch, 0]
    assert torch.equal(data.annotations.boxes, before)


def test_difficult_objects_can_be_left_out_of_training(root: Path) -> None:
    write_annotation(root, "a", annotation([CAT, DOG], difficult="1"))
    assert len(dataset(root, keep_difficult=True)[0]["labels"]) == 2
    assert len(dataset(root, keep_difficult=False)[0]["labels"]) == 0


def test_a_batch_is_padded_to_the_most_boxes(root: Path) -> None:
    data = dataset(root)
    batch = collate([data[0], data[1], data[2]])
    assert batch["labels"].tolist() == [[1, 2], [0, 0], [1, 0]]
    assert batch["boxes"].shape == (3, 2, 4)
    assert batch["indices"].tolist() == [0, 1, 2]
    assert batch["images"].is_contiguous(memory_format=torch.channels_last)


def test_a_batch_without_any_object_has_no_boxes(root: Path) -> None:
    batch = collate([dataset(root)[1]])
    assert batch["boxes"].shape == (1, 0, 4)


def test_a_repeat_keeps_its_index(root: Path) -> None:
    assert dataset(root)[-1]["index"] == -1
    np.testing.assert_array_equal(dataset(root)[-1]["image"], dataset(root)[2]["image"])


def test_an_image_with_damaged_pixels_is_named_with_what_leaves_it_out(tmp_path: Path) -> None:
    root = write_voc(tmp_path, {"train": {"a": [CAT]}})
    image = root / "JPEGImages" / "a.png"
    image.write_bytes(image.read_bytes()[:-20])
    columns = to_annotations(read_records(root), ["cat"], Report(POLICIES))
    data = DetectionDataset(columns, (32, 32), None, True, True, seed=0)
    with pytest.raises(ValueError, match=r"a\.png: damaged image.*data\.bad_image=drop"):
        data[0]
