"""Class layers copied class by class."""

from pathlib import Path

import pytest
import torch
from saved import ANCHORS, checkpoint, copies, make, same, save, start

from ssd.errors import ConfigError

LISTS = [
    (["cat", "dog"], ["dog", "cat"]),  # another order
    (["cat", "dog"], ["dog", "cow"]),  # as many, of other names
    (["cat", "dog"], ["bird", "cow"]),  # nothing but the background in common
    (["cat", "dog"], ["bird", "dog", "cow", "cat", "ant"]),
    (["bird", "dog", "cow", "cat", "ant"], ["cat", "bird"]),
    (["cat"], ["dog", "cat", "cow"]),
]


@pytest.mark.parametrize(("theirs", "ours"), LISTS)
def test_shared_classes_get_the_logits_of_the_old_network(
    tmp_path: Path, theirs: list[str], ours: list[str]
) -> None:
    old, new = make(theirs), make(ours)
    start(new, save(tmp_path / "a.ckpt", checkpoint(old, theirs)), ours)
    images = torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        before, after = old(images), new(images)
    torch.testing.assert_close(after.offsets, before.offsets, rtol=1e-5, atol=1e-6)
    for row, name in enumerate(["background", *ours]):
        if name in ["background", *theirs]:
            expected = before.logits[..., ["background", *theirs].index(name)]
            torch.testing.assert_close(after.logits[..., row], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("theirs", "ours"), LISTS)
def test_each_anchor_copies_shared_classes_exactly_and_starts_the_others_new(
    tmp_path: Path, theirs: list[str], ours: list[str]
) -> None:
    old, new = make(theirs), make(ours)
    fresh = copies(new)
    start(new, save(tmp_path / "a.ckpt", checkpoint(old, theirs)), ours)
    saved, loaded = old.state_dict(), new.state_dict()
    their_names, our_names = ["background", *theirs], ["background", *ours]
    for level in range(len(new.heads)):
        for part in ("weight", "bias"):
            key = f"heads.{level}.classify.{part}"
            for anchor in range(ANCHORS):
                for row, name in enumerate(our_names):
                    place = anchor * len(our_names) + row
                    expected = fresh[key][place]
                    if name in their_names:
                        there = anchor * len(their_names) + their_names.index(name)
                        expected = saved[key][there]
                    assert torch.equal(loaded[key][place], expected), (key, anchor, name)


def test_the_report_says_which_classes_were_copied(tmp_path: Path) -> None:
    path = save(tmp_path / "a.ckpt", checkpoint(make(["cat", "dog", "cow"]), ["cat", "dog", "cow"]))
    new = make(["dog", "bird"])
    report = start(new, path, ["dog", "bird"])
    assert report[1:] == [
        "class layers copied by class name: the background, dog; starting new: bird; "
        "only in the file: cat, cow"
    ]
    share = sum(t.numel() * (2 / 3 if "classify" in n else 1) for n, t in new.state_dict().items())
    assert f"({round(share):,} of " in report[0]


def test_a_plain_file_of_another_number_of_classes_needs_the_class_layers_excluded(
    tmp_path: Path,
) -> None:
    old, new = make(["a", "b", "c"]), make()
    path = save(tmp_path / "a.pth", old.state_dict())
    fresh = copies(new)
    with pytest.raises(ConfigError, match="class names of the file are unknown") as error:
        start(new, path)
    assert "heads.0.classify.bias (16,) for (12,) and 6 more)" in str(error.value)
    assert "init.exclude=[heads.*.classify.weight,heads.*.classify.bias]" in str(error.value)
    assert same(new, fresh)
    report = start(new, path, exclude=["heads.*.classify.*"])
    assert report[1:] == [
        "left out by init.exclude: heads.*.classify.weight, heads.*.classify.bias"
    ]
    for level in range(4):
        assert same(new, old.state_dict(), f"heads.{level}.locate")
        assert same(new, fresh, f"heads.{level}.classify")


def test_class_layers_of_another_number_of_anchors_do_not_fit(tmp_path: Path) -> None:
    content, new = checkpoint(make(["cow"]), ["cow"]), make()
    fresh = copies(new)
    content["state_dict"]["network.heads.0.classify.bias"] = torch.ones(6 * 2)
    path = save(tmp_path / "a.ckpt", content)
    with pytest.raises(ConfigError, match=r"heads\.0\.classify\.bias \(12,\) for \(12,\)"):
        start(new, path)
    start(new, path, missing="ignore")
    assert same(new, fresh, "heads.0.classify.bias")
