import os
import pickle
import pickletools
from pathlib import Path

import cv2
import numpy as np
import pytest
from test_datamodule import data_module
from voc import POLICIES

from ssd.data.checks import Report
from ssd.data.columns import Columns, to_annotations
from ssd.texts import Texts

LATIN = os.fsdecode(b"caf\xe9")  # the name of a file that is not UTF-8
TEXTS = ["a", "", "ünï😀", "a\nb\0", LATIN, "\udcc3\udca9", "\ud800"]


def test_texts_are_what_a_list_of_them_is() -> None:
    texts = Texts(TEXTS)
    places = range(-len(TEXTS), len(TEXTS))
    assert [texts[place] for place in places] == [TEXTS[place] for place in places]
    assert list(texts) == TEXTS
    assert (len(texts), "" in texts, "b" in texts) == (len(TEXTS), True, False)
    for beyond in (len(TEXTS), -len(TEXTS) - 1):
        with pytest.raises(IndexError):
            texts[beyond]


def test_texts_equal_those_with_the_same_texts_and_no_others() -> None:
    assert Texts(TEXTS) == TEXTS
    assert Texts(iter(TEXTS)) == Texts(TEXTS)
    assert Texts(["ab", "c"]) != Texts(["a", "bc"])
    assert Texts([]) == []


def test_a_place_may_be_a_number_of_numpy() -> None:
    assert Texts(TEXTS)[np.int64(2)] == TEXTS[2]


def parts(columns: object) -> int:
    """What a pickle of them consists of."""
    return sum(1 for _ in pickletools.genops(pickle.dumps(columns)))


def test_annotations_of_many_images_are_no_more_objects_than_of_few() -> None:
    few, many = Columns(), Columns()
    for number in range(1000):
        for columns in (few, many) if number < 10 else (many,):
            columns.add(f"{number}", f"/data/{number}.jpg", (60, 40), [])
    report = Report(POLICIES)
    less, more = (parts(to_annotations(c.close(), ["cat"], report)) for c in (few, many))
    assert more < less + 50


def test_texts_are_the_same_where_they_are_sent() -> None:
    assert pickle.loads(pickle.dumps(Texts(TEXTS))) == TEXTS


def test_images_whose_names_are_not_utf8_are_divided_listed_and_read(tmp_path: Path) -> None:
    root = tmp_path / "data"
    (root / "images").mkdir(parents=True)
    (root / "labels").mkdir()
    picture = cv2.imencode(".png", np.full((40, 60, 3), 99, np.uint8))[1].tobytes()
    for number in range(30):
        (root / "images" / f"{LATIN}{number}.png").write_bytes(picture)
        (root / "labels" / f"{LATIN}{number}.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (root / "data.yaml").write_text("names: [cat]\ntrain: images\n")
    data = data_module(root, format="yolo", test_split=None)
    data.write_splits(tmp_path)
    listed = (tmp_path / "splits" / "val.txt").read_bytes().splitlines()
    held_out = data.annotations["val"].ids
    assert len(listed) == len(held_out) > 0
    assert listed == [os.fsencode(id) for id in held_out]
    assert data.dataset("val", training=False)[0]["labels"].tolist() == [1]
