"""JSON that is no COCO file. Numbers in comments are cases of a list of bad inputs."""

import json
from pathlib import Path

import pytest
from coco import content, read, write_coco, write_text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is cut off|must stand here"),  # 68
        (json.dumps(content())[:200], r"cut off.*at character \d+"),  # 68
        (json.dumps(content())[:-1], r"cut off, at character \d+"),  # 68
        (json.dumps(content()) + "{}", "more text after its end, at character"),
        ("<html></html>", "not JSON: { must stand here, not '<', at character 1"),
        ("[]", "is a list, not an object that holds images, annotations, categories"),  # 69
        ('{"images": [], "images": []}', "the key 'images' is there twice"),  # 71
        ('{"images": [{"id": 1, "id": 2}]}', r"images\[0\]: the key 'id' is there twice"),  # 71
        ('{"annotations": [{"bbox": [NaN]}]}', r"annotations\[0\]: NaN is no number of JSON"),  # 72
        ('{"info": [1, -Infinity]}', "info: -Infinity is no number of JSON"),  # 72
        ('{"images": [{"id": ' + "9" * 5000 + "}]}", r"images\[0\]: Exceeds the limit"),  # 73
        ('{"info": ' + "[" * 100_000, "info: brackets too deep in each other"),  # 74
        ('{"images": {}}', "images is not a list"),
        ('{"images": [], "annotations": [], "categories": []}', "names no images"),
        ("{'images': []}", "a key must stand here"),
        ('{"images": [,]}', "not JSON.*at character 13"),
        ("{}", "has no annotations, categories, images"),  # 70
    ],
)
def test_what_is_no_coco_file_is_one_line_with_the_place(
    tmp_path: Path, text: str, message: str
) -> None:
    write_text(tmp_path, text)
    with pytest.raises(ValueError, match=rf"instances_train\.json: .*({message})") as error:
        read(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("key", ["images", "annotations", "categories"])
def test_each_list_must_be_there(tmp_path: Path, key: str) -> None:  # 70
    with pytest.raises(ValueError, match=rf"instances_train\.json: has no {key};"):
        read(write_coco(tmp_path, lambda all: all.pop(key)))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_other_encodings_are_read(tmp_path: Path, encoding: str) -> None:
    path = write_coco(tmp_path) / "annotations" / "instances_train.json"
    path.write_text(json.dumps(content()), encoding=encoding)
    assert len(read(tmp_path).boxes) == 3


def test_bytes_that_are_no_text_are_one_line(tmp_path: Path) -> None:
    write_coco(tmp_path)
    (tmp_path / "annotations" / "instances_train.json").write_bytes(b'{"images": "\xff"}')
    with pytest.raises(ValueError, match=r"json: not JSON \(not text in utf-8\)"):
        read(tmp_path)


def test_a_file_is_read_alike_in_pieces_of_any_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_text(tmp_path, json.dumps(content(), indent=3))
    whole = read(root)
    for characters in (1, 2, 7):
        monkeypatch.setattr("ssd.data.coco.json_lists.CHUNK", characters)
        assert (read(root).boxes == whole.boxes).all()
