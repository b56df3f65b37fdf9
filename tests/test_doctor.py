"""The doctor as a user calls it, on folders with known faults."""

import json
import re
import shutil
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest
import torch
from formats import write_dogs
from test_datamodule import data_module
from verbs import run
from voc import (
    SIZE,
    annotation,
    collected,
    names,
    read_records,
    write_annotation,
    write_image,
    write_voc,
)

from ssd.data.checks import Fault
from ssd.data.formats import FORMATS
from ssd.doctor import pictures
from ssd.doctor.fixing import file_name, write_copy
from ssd.doctor.pictures import around
from ssd.records import Annotations

DOG, CAT = ("dog", 11, 6, 40, 35), ("cat", 21, 1, 50, 30)
FLAT, OUTSIDE, OVER = ("dog", 5, 5, 5, 9), ("cat", 70, 5, 80, 9), ("dog", 31, 1, 90, 40)


class Page(HTMLParser):
    """The sections of a page, its pictures, its links, and the tags that are left open."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.sections: list[str] = []
        self.links: list[str] = []
        self.open: list[str] = []
        self.text = path.read_text()
        self.feed(self.text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        self.links += [given[key] or "" for key in ("src", "href") if key in given]
        if tag == "section":
            self.sections.append(given["id"] or "")
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def pictures(self, section: str) -> int:
        return self.text.split(f'<section id="{section}">')[1].split("</section>")[0].count("<img")


class Run(NamedTuple):
    """The doctor's visit to a faulty folder."""

    code: int
    data: Path
    untouched: bool
    output: Path
    copy: Path


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Three faulty boxes and one to clip, a picture cut off, and one that is there twice."""
    folder = tmp_path_factory.mktemp("faulty")
    train = {"a": [DOG], "bb": [CAT], "ccc": [], "dddd": [DOG, CAT]}
    splits = {"train": train, "val": {"eeeee": [DOG]}, "test": {"ffffff": [CAT]}}
    root = write_voc(folder / "voc", splits)
    write_annotation(root, "a", annotation([DOG, FLAT, OUTSIDE]))
    write_annotation(root, "bb", annotation([CAT, OVER, FLAT]))
    shutil.copy(root / "JPEGImages" / "a.png", root / "JPEGImages" / "eeeee.png")
    cut = root / "JPEGImages" / "dddd.png"
    cut.write_bytes(cut.read_bytes()[:-400])
    before = contents(root)
    words = [f"fix={folder}/copy", "data.rename={dog: animal}"]
    code = examine(root, folder / "out", *words)
    return Run(code, root, contents(root) == before, folder / "out", folder / "copy")


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*.*")}


def examine(root: Path, output: Path, *words: str) -> int:
    return run("doctor", "data=auto", f"data.root={root}", "model.image_size=64",
               "model.width=0.5", f"output={output}", *words)  # fmt: skip


def found(output: Path) -> dict:
    return json.loads((output / "doctor.json").read_text())


def test_every_fault_is_listed_and_the_exit_code_is_1(faulty: Run) -> None:
    faults = [(fault["kind"], fault["message"]) for fault in found(faulty.output)["faults"]]
    expected = [
        ("bad_box", "a.xml: object 2 (dog)"),
        ("bad_box", "a.xml: object 3 (cat)"),
        ("bad_box", "bb.xml: object 3 (dog)"),
        ("bad_image", "dddd.png"),
    ]
    assert len(faults) == len(expected)
    for (kind, message), (wanted, part) in zip(faults, expected, strict=True):
        assert kind == wanted
        assert part in message
    boxes = [fault["box"] for fault in found(faulty.output)["faults"]]
    assert boxes == [[4, 4, 5, 9], [69, 4, 80, 9], [4, 4, 5, 9], None]
    assert list(found(faulty.output)["notes"].values()) == [1]
    assert faulty.code == 1


def test_the_terminal_says_what_the_page_says(faulty: Run) -> None:
    page = (faulty.output / "doctor.html").read_text()
    lines = [line.partition("INFO] ")[2] or line for line in printed(faulty.output)]
    for heading in re.findall("<h2>(.*?)</h2>", page):
        assert heading in lines
    assert "  3 faulty boxes" in lines
    assert "  the same picture in two splits: 1" in lines


def printed(output: Path) -> list[str]:
    return (output / "doctor.log").read_text().splitlines()


def test_the_page_is_whole_and_needs_no_network(faulty: Run) -> None:
    page = Page(faulty.output / "doctor.html")
    assert not page.open
    assert page.sections == ["content", "faults", "leaks", "reach", "augmented", "advice"]
    assert all(link.startswith(("data:image/jpeg;base64,", "#")) for link in page.links)
    assert "http" not in page.text
    assert page.pictures("faults") == 3
    assert page.pictures("leaks") == 2 * len(found(faulty.output)["copies"])
    assert page.pictures("augmented") == 16


def test_a_fixed_copy_has_no_faults_and_the_source_is_untouched(
    faulty: Run, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    examine(faulty.copy, tmp_path)
    assert (found(tmp_path)["faults"], found(tmp_path)["notes"]) == ([], {})
    assert faulty.untouched
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path)


def test_a_fixed_copy_keeps_what_was_right(faulty: Run) -> None:
    data = data_module(faulty.copy, val_split="val")
    columns = data.annotations["train"]
    assert columns.ids == ["a", "bb", "ccc"]
    assert data.classes == ["animal", "cat"]
    assert columns.boxes.tolist() == [[10, 5, 40, 35], [20, 0, 50, 30], [30, 0, 60, 40]]
    assert data.annotations["val"].ids == ["eeeee"]
    copied, source = (root / "JPEGImages" / "a.png" for root in (faulty.copy, faulty.data))
    assert copied.read_bytes() == source.read_bytes()
    assert not copied.samefile(source)  # or to edit the one would be to edit the other


def test_what_a_copy_lacks_is_said(faulty: Run) -> None:
    lines = printed(faulty.output)
    assert "5 images are in" in "".join(lines)
    assert {"left out 3 faulty boxes", "left out 1 images that cannot be read"} <= set(lines)


def test_a_note_is_said_once(faulty: Run) -> None:
    (note,) = found(faulty.output)["notes"]
    assert "".join(printed(faulty.output)).count(note) == 1


def test_a_copy_goes_to_a_new_folder_outside_the_data(
    faulty: Run, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert examine(faulty.data, tmp_path / "out", f"fix={tmp_path}") == 2
    assert "exists; give a folder that does not" in capsys.readouterr().out
    assert examine(faulty.data, tmp_path / "out", f"fix={faulty.data}/copy") == 2
    assert "lies in the data set" in capsys.readouterr().out
    (tmp_path / "new.part").mkdir()
    assert examine(faulty.data, tmp_path / "out", f"fix={tmp_path}/new") == 2
    assert "new.part is what a run that was cut short left; remove it" in capsys.readouterr().out
    assert not (faulty.data / "copy").exists()


def test_boxes_keep_their_fractions_and_those_of_a_pixel_are_left_out(tmp_path: Path) -> None:
    columns = Annotations(
        ids=["0/a b"],
        files=[str(write_image(tmp_path / "source", "a"))],
        sizes=torch.tensor([SIZE]),
        starts=torch.tensor([0, 3]),
        boxes=torch.tensor([[0.1, 0.2, 7.3, 9.4], [3, 3, 4, 9], [3, 3, 3.2, 3.2]]).double(),
        labels=torch.tensor([2, 1, 1]),
        difficult=torch.tensor([True, False, False]),
        crowd=torch.zeros(3, dtype=torch.bool),
    )
    write_copy(tmp_path / "copy", {"train": columns}, ["cat", "a & b"], damaged=[], faults=[])
    records = read_records(tmp_path / "copy", bad_box="raise")
    assert records.ids == ["0_a_b"]
    assert records.boxes == pytest.approx(np.array([[0.1, 0.2, 7.3, 9.4]]), abs=1e-5)
    assert (names(records), records.difficult.tolist()) == (["a & b"], [True])


def test_a_data_set_without_a_single_box_has_a_page(tmp_path: Path) -> None:
    write_voc(tmp_path / "voc", {"train": {"a": []}, "val": {"bb": []}, "test": {"ccc": []}})
    assert examine(tmp_path / "voc", tmp_path / "out", "data.classes=[cat]") == 0
    page = Page(tmp_path / "out" / "doctor.html")
    assert page.text.count('class="empty"') >= 3
    assert page.pictures("reach") == 0


@pytest.mark.parametrize("format", FORMATS)
def test_a_data_set_whose_every_box_is_faulty_has_a_page(tmp_path: Path, format: str) -> None:
    root = write_dogs(tmp_path / "data", format, (5, 5, 5, 9), (9, 9, 9, 12))
    words = ["data.val_split=null", "data.test_split=null", "fit=true"]
    assert examine(root, tmp_path / "out", *words) == 1
    assert [fault["kind"] for fault in found(tmp_path / "out")["faults"]] == ["bad_box"] * 2
    page = Page(tmp_path / "out" / "doctor.html")
    assert page.pictures("faults") == 2
    assert "No training image holds a box." in page.text
    assert "No class: no object of any image could be read." in page.text
    assert "  nothing: no training image holds a box" in printed(tmp_path / "out")


@pytest.mark.parametrize(
    ("format", "path", "content", "message"),
    [
        ("coco", "annotations/instances_train.json", '{"images": [', "cut off"),
        ("yolo", "data.yaml", "train: images\nnames: [dog\n", "cannot be read as YAML"),
        ("csv", "train.csv", "filename,class,xmin,ymin,xmax,ymax\n", "names no images"),
        ("voc", "Annotations/a.xml", "<annotation>", "not XML"),
    ],
)
def test_a_data_set_of_which_nothing_can_be_read_has_a_page(
    tmp_path: Path, format: str, path: str, content: str, message: str
) -> None:
    root = write_dogs(tmp_path / "data", format, (5, 5, 9, 9))
    (root / path).write_text(content)
    assert examine(root, tmp_path / "out") == 1
    (fault,) = found(tmp_path / "out")["faults"]
    assert message in fault["message"]
    assert fault["message"] in unescape(Page(tmp_path / "out" / "doctor.html").text)


def test_pictures_of_boxes_that_no_anchor_fits_are_of_the_anchors_before_a_fit(
    tmp_path: Path,
) -> None:
    boxes = [("dog", x, 1, x + 3, 4) for x in range(1, 50, 7)]
    root = write_voc(tmp_path / "voc", {"train": {"a": boxes}})
    words = ["data.val_split=null", "data.test_split=null", "fit=true"]
    examine(root, tmp_path / "out", *words)
    assert found(tmp_path / "out")["fit"]["override"]
    page = Page(tmp_path / "out" / "doctor.html")
    assert "Boxes that none of the anchors as they are fits" in page.text


def test_a_file_in_two_splits_is_an_exit_code_of_1_and_a_near_copy_is_not(tmp_path: Path) -> None:
    splits = {"train": {"a": [DOG]}, "val": {"bb": [CAT]}, "test": {"ccc": []}}
    root = write_voc(tmp_path / "voc", splits)
    assert examine(root, tmp_path / "out") == 0
    picture = cv2.imread(str(root / "JPEGImages" / "a.png"))
    cv2.imwrite(str(root / "JPEGImages" / "bb.png"), cv2.convertScaleAbs(picture, beta=5))
    assert examine(root, tmp_path / "near") == 0
    assert [copy["kind"] for copy in found(tmp_path / "near")["copies"]] == ["near"]
    shutil.copy(root / "JPEGImages" / "a.png", root / "JPEGImages" / "bb.png")
    assert examine(root, tmp_path / "same") == 1
    assert found(tmp_path / "same")["faults"] == []


@pytest.mark.parametrize("format", FORMATS)
def test_faults_of_every_format_have_pictures(tmp_path: Path, format: str) -> None:
    root = write_dogs(tmp_path, format, (10, 5, 20, 15), (5, 5, 5, 9))
    (figure,) = pictures.faulty(collected(root, format=format)[1])
    shown = cv2.imdecode(np.frombuffer(figure.jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert shown.shape[0] == shown.shape[1]  # a close-up
    assert "no width or height" in figure.caption


def test_a_fault_without_a_box_shows_its_image_after_the_boxes(tmp_path: Path) -> None:
    file = str(write_image(tmp_path, "a"))
    torn = tmp_path / "torn.png"
    torn.write_bytes(b"")
    faults = [
        Fault("bad_image", "torn", str(torn)),
        Fault("size_mismatch", "whole", file),
        Fault("bad_annotation", "nowhere"),
        Fault("bad_box", "box", file, (5.0, 5.0, 5.0, 9.0)),
    ]
    assert [figure.caption for figure in pictures.faulty(faults)] == ["box", "whole"]


def test_a_split_that_cannot_be_read_is_a_fault_of_the_page(tmp_path: Path) -> None:
    root = write_voc(tmp_path / "voc", {"train": {"a": [DOG]}, "val": {"bb": [CAT]}, "test": {}})
    assert examine(root, tmp_path / "out") == 1
    (fault,) = found(tmp_path / "out")["faults"]
    assert "test.txt: names no images" in fault["message"]


def test_names_from_the_data_are_text_on_the_page(tmp_path: Path) -> None:
    write_voc(tmp_path / "voc", {"train": {"a": []}})
    name = "&lt;script&gt;alert(1)&lt;/script&gt;"
    write_annotation(tmp_path / "voc", "a", annotation([(name, 5, 5, 30, 30)]))
    examine(tmp_path / "voc", tmp_path / "out", "data.test_split=null", "data.val_split=null")
    assert "<script" not in (tmp_path / "out" / "doctor.html").read_text()
    assert found(tmp_path / "out")["classes"] == ["<script>alert(1)</script>"]


def test_names_of_copied_files_are_safe_and_differ() -> None:
    taken: set[str] = set()
    ids = ("0/a b", "0_a_b.PNG", "0/A/b", "../é.x", "/", ".jpg", "n" * 300)
    assert [file_name(id, taken) for id in ids] == [
        *("0_a_b", "0_a_b_2", "0_A_b_3", "_é.x", "_", "image", "n" * 60),
    ]


def test_a_close_up_is_a_square_of_the_image_with_the_box() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        size = rng.integers(20, 300, 2)
        corners = np.sort(rng.uniform(0, 1, (2, 2)), axis=0) * size
        x1, y1, x2, y2 = around(corners.ravel(), tuple(size.tolist()))
        assert x2 - x1 == y2 - y1 > 0
        assert min(x1, y1) >= 0
        assert (np.array([x2, y2]) <= size).all()
