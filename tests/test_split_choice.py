"""Which images train, validate and test, whatever the files call their splits."""

from pathlib import Path

import pytest
from test_datamodule import CAT, DOG, IDS, all_ids, data_module, ids
from voc import annotation, write_annotation, write_image, write_split, write_voc


@pytest.fixture
def root(tmp_path: Path) -> Path:
    images = {id: [DOG] for id in IDS}
    return write_voc(tmp_path / "voc", {"train": images, "test": {"t": [CAT], "u": []}})


def test_without_a_val_split_some_of_each_class_are_held_out(root: Path) -> None:
    images = {f"cat{i:02d}": [CAT] for i in range(20)} | {id: [DOG] for id in IDS}
    data = data_module(write_voc(root, {"train": images}))
    held_out = ids(data, "val")
    assert sorted(ids(data, "train") + held_out) == sorted(images)
    assert {id.rstrip("0123456789") for id in held_out} == {"cat", "image"}
    assert len(held_out) < 15


def test_what_is_held_out_does_not_depend_on_the_order_of_the_files(root: Path) -> None:
    before = set(ids(data_module(root), "val"))
    write_split(root, "train", IDS[::-1])
    assert set(ids(data_module(root), "val")) == before


def test_splits_that_are_made_are_written_beside_the_run(root: Path, tmp_path: Path) -> None:
    data = data_module(root)
    expected = ids(data, "val")
    data.write_splits(tmp_path / "run")
    assert (tmp_path / "run/splits/val.txt").read_text().split() == expected
    given = data_module(write_voc(root, {"val": {"v": [DOG]}}))
    assert ids(given, "val") == ["v"]
    given.write_splits(tmp_path / "run")
    assert not (tmp_path / "run" / "splits").exists()


ALL_AUTO = {"train_split": "auto", "val_split": "auto", "test_split": "auto"}


@pytest.fixture
def unnamed(tmp_path: Path) -> Path:
    """A data set without splits."""
    images = {f"a{i}": [CAT] for i in range(10)} | {id: [DOG] for id in IDS}
    root = write_voc(tmp_path / "unnamed", {"train": images})
    (root / "ImageSets" / "Main" / "train.txt").unlink()
    return root


def add(root: Path, *ids: str) -> None:
    for id in ids:
        write_image(root, id, [DOG])
        write_annotation(root, id, annotation([DOG]))


def test_images_that_come_after_a_run_began_are_left_out_of_it_and_counted(
    unnamed: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = data_module(unnamed, **ALL_AUTO)
    expected = all_ids(data)
    data.write_splits(tmp_path / "run")
    add(unnamed, *(f"A{i}" for i in range(30)))  # sorted before those that were there
    assert all_ids(data_module(unnamed, **ALL_AUTO)) != expected
    again = data_module(unnamed, **ALL_AUTO)
    again.keep_splits(tmp_path / "run")
    assert all_ids(again) == expected
    assert "30 images are in no list of the run's splits and left out" in caplog.text
    again.write_splits(tmp_path / "next")
    names = ("train", "val", "test")
    read = {name: (tmp_path / "next/splits" / f"{name}.txt").read_text() for name in names}
    assert {name: text.split() for name, text in read.items()} == expected


def test_an_image_that_is_gone_since_a_run_began_is_an_error_that_names_it(
    unnamed: Path, tmp_path: Path
) -> None:
    data = data_module(unnamed, **ALL_AUTO)
    data.write_splits(tmp_path / "run")
    gone = ids(data, "test")[0]
    (unnamed / "Annotations" / f"{gone}.xml").unlink()
    again = data_module(unnamed, **ALL_AUTO)
    again.keep_splits(tmp_path / "run")
    with pytest.raises(ValueError, match=rf"splits/test\.txt has the image {gone}, which the data"):
        ids(again, "test")


def test_the_splits_of_a_run_hold_for_several_data_sets(root: Path, tmp_path: Path) -> None:
    other = write_voc(tmp_path / "other", {"train": {f"b{i}": [CAT] for i in range(9)}, "test": {}})
    more = [{"root": str(other), "test_split": None}]
    data = data_module(root, more=more)
    expected = all_ids(data)
    data.write_splits(tmp_path / "run")
    write_split(other, "train", [f"b{i}" for i in reversed(range(9))])
    add(root, "A0")
    write_split(root, "train", ["A0", *IDS])
    again = data_module(root, more=more)
    again.keep_splits(tmp_path / "run")
    assert all_ids(again) == expected
    alone = data_module(root)
    alone.keep_splits(tmp_path / "run")
    with pytest.raises(ValueError, match=r"has the image 0/.*, which the data set has no more"):
        all_ids(alone)


def test_a_val_split_that_was_part_of_training_is_read_once_for_a_runs_lists(
    root: Path, tmp_path: Path
) -> None:
    over = {IDS[0]: [("dog", 11, 6, 70, 15)]}
    write_voc(root, {"val": over})
    data = data_module(root)
    data.write_splits(tmp_path / "run")
    again = data_module(root)
    again.keep_splits(tmp_path / "run")
    assert all_ids(again) == all_ids(data)
    assert (list(again.report.notes.values()), again.report.boxes) == ([1], 41)


def test_a_run_without_lists_is_divided_as_ever(root: Path, tmp_path: Path) -> None:
    data = data_module(root)
    data.keep_splits(tmp_path)
    assert all_ids(data) == all_ids(data_module(root))


NAMED = {"train_split": "train", "val_split": None, "test_split": "test"}


@pytest.mark.parametrize("stage", ["train", "val", "test"])
@pytest.mark.parametrize(
    ("own", "further"),
    [
        (ALL_AUTO, NAMED),
        ({**ALL_AUTO, "train_split": "all"}, NAMED),
        ({**ALL_AUTO, "train_split": "all", "val_split": None}, NAMED),
        (NAMED, ALL_AUTO),
        (NAMED, {**NAMED, "test_split": "auto"}),
    ],
    ids=str,
)
def test_a_stage_that_is_scored_has_the_images_of_training(
    root: Path, unnamed: Path, stage: str, own: dict[str, str], further: dict[str, str]
) -> None:
    first, second = (unnamed, root) if further == NAMED else (root, unnamed)
    more = [{"root": str(second), **further}]
    if further["train_split"] == "train" and second == unnamed:
        write_split(unnamed, "train", IDS)
    trained = data_module(first, more=more, **own)
    scored = data_module(first, more=more, classes=["cat", "dog"], **own)
    scored.scored = stage
    assert ids(scored, stage) == ids(trained, stage)


def test_what_a_scored_split_is_not_made_of_is_not_read(root: Path) -> None:
    (root / "Annotations" / f"{IDS[0]}.xml").write_text("no XML")
    data = data_module(root, classes=["cat", "dog"])
    data.scored = "test"
    assert ids(data, "test") == ["t", "u"]


def test_the_val_split_validates_where_it_exists(root: Path) -> None:
    write_voc(root, {"val": {"v": [DOG]}})
    assert ids(data_module(root), "val") == ["v"]


def test_a_val_split_that_is_part_of_training_is_not_taken_by_itself(root: Path) -> None:
    write_split(root, "val", IDS[:5])
    held_out = ids(data_module(root), "val")
    assert sorted(held_out) != IDS[:5]
    assert set(held_out) < set(IDS)


def test_what_is_wrong_in_a_val_split_that_is_part_of_training_counts_once(root: Path) -> None:
    over = {IDS[0]: [("dog", 11, 6, 70, 15)]}
    data = data_module(write_voc(root, {"val": over}))
    assert len(ids(data, "train") + ids(data, "val")) == 40
    assert (list(data.report.notes.values()), data.report.boxes) == ([1], 41)


def test_a_val_split_that_is_the_test_is_not_taken_by_itself(root: Path) -> None:
    data = data_module(write_voc(root, {"val": {"v": [DOG]}}), test_split="val")
    assert ids(data, "test") == ["v"]
    assert set(ids(data, "val")) < set(IDS)


def test_a_given_val_split_must_not_share_images_with_training(root: Path) -> None:
    write_split(root, "val", IDS[:5])
    with pytest.raises(ValueError, match=r"5 images are in two splits.*image00"):
        ids(data_module(root, val_split="val"), "train")


def test_the_test_split_must_not_share_images_with_training(root: Path) -> None:
    write_split(root, "test", IDS[:1])
    with pytest.raises(ValueError, match="1 images are in two splits"):
        ids(data_module(root), "train")


def test_no_validation_on_request(root: Path) -> None:
    data = data_module(root, val_split=None)
    assert ids(data, "train") == IDS
    assert data.val_dataloader() == []


def test_auto_takes_the_splits_that_are_called_so_and_makes_the_others(root: Path) -> None:
    splits = {"train_split": "auto", "val_split": "auto", "test_split": "auto"}
    data = data_module(root, **splits)
    assert (ids(data, "test"), data.made) == (["t", "u"], ["val"])
    assert set(ids(data, "val")) < set(IDS)
    for file in (root / "ImageSets" / "Main").iterdir():
        file.unlink()
    data = data_module(root, **splits)
    parts = [ids(data, stage) for stage in ("train", "val", "test")]
    assert sorted(id for part in parts for id in part) == sorted([*IDS, "t", "u"])
    assert data.made == ["test", "val"]


def test_the_splits_of_several_years_are_joined(tmp_path: Path) -> None:
    for year in ("2007", "2012"):
        splits = {name: {f"{year}_{name}": [DOG]} for name in ("train", "val", "test")}
        write_voc(tmp_path / f"VOC{year}", splits)
    data = data_module(tmp_path, format="auto", **ALL_AUTO)
    assert all_ids(data) == {
        stage: [f"2007_{stage}", f"2012_{stage}"] for stage in ("train", "val", "test")
    }
    assert data.made == []


def test_a_year_may_lack_a_split_and_call_it_otherwise(tmp_path: Path) -> None:
    write_voc(tmp_path / "VOC2007", {"trainval": {"a": [DOG]}, "test": {"b": [DOG]}})
    write_voc(tmp_path / "VOC2012", {"train": {"c": [DOG]}, "val": {"d": [DOG]}})
    data = data_module(tmp_path, **ALL_AUTO)
    assert all_ids(data) == {"train": ["a", "c"], "val": ["d"], "test": ["b"]}


def test_of_several_splits_for_training_in_one_folder_the_likeliest_is_taken(root: Path) -> None:
    write_split(root, "trainval", [*IDS, "t"])
    assert "t" not in ids(data_module(root, **ALL_AUTO), "train")


def test_a_lone_split_is_every_image(tmp_path: Path) -> None:
    root = write_voc(tmp_path, {"everything": {id: [DOG] for id in IDS}})
    data = data_module(root, **ALL_AUTO)
    assert sorted(id for stage in all_ids(data).values() for id in stage) == IDS
    assert data.made == ["test", "val"]
    write_split(root, "more", IDS[:3])
    with pytest.raises(ValueError, match="which images are for training"):
        all_ids(data_module(root, **ALL_AUTO))


def test_a_lone_test_split_is_not_for_training(tmp_path: Path) -> None:
    root = write_voc(tmp_path, {"test": {id: [DOG] for id in IDS}})
    with pytest.raises(ValueError, match="which images are for training"):
        all_ids(data_module(root, **ALL_AUTO))


def test_one_file_in_two_splits_is_a_leak_whatever_it_is_called(root: Path) -> None:
    image = root / "JPEGImages" / "t.png"
    image.unlink()
    image.symlink_to("image00.png")
    with pytest.raises(ValueError, match=r"1 images are in two splits.*: image00"):
        all_ids(data_module(root, val_split=None))


def test_one_file_in_two_splits_of_two_data_sets_is_a_leak(root: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root)
    more = [{"root": str(tmp_path / "link"), "train_split": None, "test_split": "train"}]
    with pytest.raises(ValueError, match=r"40 images are in two splits.*: 0/image00"):
        all_ids(data_module(root, more=more, val_split=None))


def test_two_splits_of_one_folder_may_be_two_data_sets(root: Path) -> None:
    more = [{"root": str(root), "train_split": "test", "test_split": None}]
    data = data_module(root, more=more, test_split=None, val_split=None)
    assert len(ids(data, "train")) == 42
