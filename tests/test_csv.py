from pathlib import Path

import pytest
from files import write
from PIL import Image
from voc import POLICIES, collected, names, read_records

from ssd.data.checks import Report
from ssd.data.columns import Records
from ssd.data.csv.dialects import dialect_of
from ssd.data.csv.reader import splits
from ssd.data.formats import AUTO
from ssd.data.parts import Part
from ssd.data.splits import read_part
from ssd.errors import ConfigError

ALL = "all"
HEADER = "filename,class,xmin,ymin,xmax,ymax\n"
BOX = [10, 20, 30, 40]
NAMES = "ImageID,LabelName,Confidence,XMin,XMax,YMin,YMax,IsGroupOf\n"


def table(root: Path, content: str | bytes, **policies: str) -> Records:
    """One CSV file beside an image a.png of 60x40."""
    write(root, {"a.png": None, "labels.csv": content})
    return read_records(root, ALL, "csv", **policies)


@pytest.mark.parametrize(
    "content",
    [
        HEADER + "a.png,dog,10,20,30,40\n",
        "class;image_path;x1;y1;x2;y2\ndog;a.png;10;20;30;40\n",
        "LabelName\timage_id\tX Min\tYMin\tx_max\tY-MAX\ndog\ta\t10.0\t20.\t3e1\t40\n",
        "filename,width,height,class,xmin,ymin,xmax,ymax\na.png,60,40,dog,10,20,30,40\n",
        "image,label,x,y,w,h,width,height\na.png,dog,10,20,20,20,60,40\n",
        "path,name,x,y,width,height\na.png,dog,10,20,20,20\n",
        "image_name,label_name,bbox_x,bbox_y,bbox_width,bbox_height\na.png,dog,10,20,20,20\n",
        "a.png,10,20,30,40,dog\n",
        "\ufeff" + HEADER.replace("\n", "\r\n") + '"a.png","dog","10","20","30","40"\r\n\r\n',
        ",filename,class,score,xmin,ymin,xmax,ymax\n0,./a.png, dog ,0.5,10,20,30, 40\n",
    ],
)
def test_every_dialect_says_the_same(tmp_path: Path, content: str) -> None:
    records = table(tmp_path, content)
    assert (records.ids, names(records)) == (["a.png"], ["dog"])
    assert records.boxes.tolist() == [BOX]
    assert records.sizes.tolist() == [[60, 40]]


def test_rows_of_an_image_need_not_be_adjacent(tmp_path: Path) -> None:
    write(tmp_path, {"b.png": None})
    rows = "b.png,cat,1,2,3,4\na.png,dog,10,20,30,40\nb.png,dog,5,6,7,8\n"
    records = table(tmp_path, HEADER + rows)
    assert records.ids == ["b.png", "a.png"]
    assert records.starts.tolist() == [0, 2, 3]
    assert names(records) == ["cat", "dog", "dog"]
    assert records.boxes.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8], BOX]


def test_a_long_file_is_read_whole_and_its_last_line_is_known(tmp_path: Path) -> None:
    write(tmp_path, {"b.png": None})
    rows = "".join(f"{'ab'[i % 2]}.png,{'cat' if i < 1500 else 'dog'},0,0,{i % 50 + 1},9\n"
                   for i in range(3000))  # fmt: skip
    records = table(tmp_path, HEADER + rows)
    assert records.starts.tolist() == [0, 1500, 3000]
    order = (*range(0, 3000, 2), *range(1, 3000, 2))
    assert records.boxes[:, 2].tolist() == [i % 50 + 1 for i in order]
    assert names(records) == (["cat"] * 750 + ["dog"] * 750) * 2
    with pytest.raises(ValueError, match=r"labels\.csv:3002: has 1 fields"):
        table(tmp_path, HEADER + rows + "x\n")


def test_a_row_that_names_an_image_alone_is_an_image_without_objects(tmp_path: Path) -> None:
    write(tmp_path, {"b.png": None, "classes.csv": "dog,0\n"})
    records = table(tmp_path, "b.png,,,,,\na.png,10,20,30,40,dog\n")
    assert records.ids == ["b.png", "a.png"]
    assert records.starts.tolist() == [0, 0, 1]


def test_open_images_has_fractions_groups_and_a_file_of_names(tmp_path: Path) -> None:
    write(tmp_path, {"class-descriptions-boxable.csv": "/m/1,Dog\n/m/2,Cat\n"})
    rows = "a,/m/1,1,0.25,0.5,0,1,0\na,/m/2,1,0,1,0.5,0.75,1\na,/m/2,1,0,1,0.5,0.75,-1\n"
    records = table(tmp_path, NAMES + rows)
    assert records.boxes[:2].tolist() == [[15, 0, 30, 40], [0, 20, 60, 30]]
    assert names(records) == ["Dog", "Cat", "Cat"]
    assert records.crowd.tolist() == records.difficult.tolist() == [False, True, False]


def test_fractions_have_no_first_pixel(tmp_path: Path) -> None:
    write(tmp_path, {"a.png": None, "labels.csv": NAMES + "a,dog,1,0.25,0.5,0,1,0\n"})
    with pytest.raises(ConfigError, match=r"data\.first_pixel=1: .*labels\.csv are fractions"):
        read_records(tmp_path, ALL, "csv", first_pixel=1)


def test_sizes_are_of_no_first_pixel(tmp_path: Path) -> None:
    write(tmp_path, {"a.png": None, "labels.csv": "image,label,x,y,w,h\na.png,dog,11,6,1,9\n"})
    records = read_records(tmp_path, ALL, "csv", first_pixel=1)
    assert records.boxes.tolist() == [[10, 5, 11, 14]]


def test_fractions_under_other_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"labels\.csv: .*look like fractions; give pixels, or"):
        table(tmp_path, HEADER + "a.png,dog,0.1,0.2,0.3,0.4\na.png,dog,0,0,1,1\n")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a.png,dog,10,20,30", "has 5 fields, not 6"),
        ("a.png,dog,10,20,30,40,50", "has 7 fields, not 6"),
        ("a.png,dog,ten,20,30,40", "column xmin is 'ten', not a number"),
        ('a.png,dog,10,"20,5",30,40', "column ymin is '20,5', not a number"),
        ("a.png,dog,10,20,nan,40", "column xmax is 'nan', not a number"),
        ("a.png,dog,10,20,30,1e999", "column ymax is '1e999', not a number"),
        ("a.png,dog,1_0,20,30,40", "column xmin is '1_0', not a number"),
        ("a.png,dog,１０,20,30,40", "column xmin is '１０', not a number"),  # noqa: RUF001
        ("a.png,dog,10,,30,40", "column ymin is '', not a number"),
        ("a.png,dog,,,,", "column xmin is '', not a number"),
        ("a.png,,10,20,30,40", "column class is '', not a class's name"),
        ("a.png,d\x1b[0mog,10,20,30,40", r"column class is 'd.x1b\[0mog', not"),
        (",dog,10,20,30,40", "column filename is '', not an image's name"),
        ("b.png,dog,10,20,30,40", r"no image 'b\.png' in .*data\.bad_image=drop"),
        ("../a.png,dog,10,20,30,40", "'../a.png' leaves the data folder"),
        ("/etc/passwd,dog,10,20,30,40", "'/etc/passwd' leaves the data folder"),
        ("http://x/a.png,dog,10,20,30,40", "'http://x/a.png' leaves the data folder"),
        ("C:\\a.png,dog,10,20,30,40", "leaves the data folder"),
        (
            "a.png,dog,30,20,10,40",
            r"dog: no width or height \(xmin 30, ymin 20, xmax 10",
        ),
        ("a.png,dog,60,20,70,40", "dog: outside the 60x40 image"),
        ('a.png,"dog\n",1,2,3,4', "a quote is not closed on its line"),
        ('a.png,"dog"x,1,2,3,4', "',' expected after"),
    ],
)
def test_a_bad_row_names_its_file_line_and_column(tmp_path: Path, row: str, message: str) -> None:
    good = "a.png,dog,1,2,30,4\n"
    with pytest.raises(ValueError, match=rf"labels\.csv:4: .*{message}") as caught:
        table(tmp_path, f"{HEADER}{good}\n{row}\n{good}", bad_box="raise")
    assert "\n" not in str(caught.value)


def test_a_report_that_collects_gets_every_fault_and_the_good_rows(tmp_path: Path) -> None:
    rows = "a.png,dog,x,y,3,4\na.png,dog\n../a.png,dog,1,2,3,4\na.png,dog,3,2,1,4\n"
    write(tmp_path, {"a.png": None, "labels.csv": f"{HEADER}{rows}a.png,dog,1,2,3,4\n"})
    records, faults = collected(tmp_path, ALL, "csv")
    lines = sorted(fault.message.split(":")[1] for fault in faults)
    assert lines == ["2", "2", "3", "4", "5"]
    assert records.boxes.tolist() == [[1, 2, 3, 4]]


def test_a_box_over_the_border_is_clipped_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    records = table(tmp_path, HEADER + "a.png,dog,-5,20,70,40\n")
    assert records.boxes.tolist() == [[0, 20, 60, 40]]
    assert "1 boxes reach over their image" in caplog.text


def test_another_size_than_the_images_is_an_error_or_left_out(tmp_path: Path) -> None:
    content = "filename,width,height,class,xmin,ymin,xmax,ymax\na.png,40,60,dog,1,2,3,4\n"
    with pytest.raises(ValueError, match=r"labels\.csv:2: size is 40x60, but a\.png is 60x40"):
        table(tmp_path, content)
    assert table(tmp_path, content, size_mismatch="drop").ids == []


def test_two_sizes_of_an_image_are_an_error(tmp_path: Path) -> None:
    rows = "a.png,60,40,dog,1,2,3,4\na.png,60,41,dog,1,2,3,4\n"
    with pytest.raises(
        ValueError, match=r"labels\.csv:3: width and height are not those of line 2"
    ):
        table(tmp_path, "filename,width,height,class,xmin,ymin,xmax,ymax\n" + rows)


def test_boxes_of_before_a_photograph_is_turned_are_turned_with_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter clockwise: (x, y) goes to (40 - y, x)
    Image.new("RGB", (60, 40)).save(tmp_path / "r.jpg", exif=exif)
    content = "filename,width,height,class,xmin,ymin,xmax,ymax\nr.jpg,60,40,dog,10,20,30,35\n"
    assert table(tmp_path, content).boxes.tolist() == [[5, 10, 20, 30]]
    assert "1 images have boxes of before EXIF turns them" in caplog.text


FILES = {
    "a column": {
        "labels.csv": "image,label,x1,y1,x2,y2,split\nv,b,1,2,3,4,val\nt,a,1,2,3,4,train\n",
        "images/t.png": None, "images/v.png": None,
    },
    "a file a split": {
        "train.csv": HEADER + "t.png,a,1,2,3,4\n", "val.csv": HEADER + "v.png,b,1,2,3,4\n",
        "images/train/t.png": None, "images/val/v.png": None,
    },
    "RetinaNet": {
        "train_annotations.csv": "images/t.png,1,2,3,4,a\n",
        "val_annotations.csv": "images/v.png,1,2,3,4,b\n",
        "classes.csv": "a,0\nb,1\n", "images/t.png": None, "images/v.png": None,
    },
    "Roboflow": {
        "train/_annotations.csv": HEADER + "t.png,a,1,2,3,4\n", "train/t.png": None,
        "valid/_annotations.csv": HEADER + "v.png,b,1,2,3,4\n", "valid/v.png": None,
    },
    "a folder of labels": {
        "data/train_labels.csv": HEADER + "t.png,a,1,2,3,4\n", "images/t.png": None,
        "data/val_labels.csv": HEADER + "v.png,b,1,2,3,4\n", "images/v.png": None,
    },
    "Open Images": {
        "oidv6-train-annotations-bbox.csv": NAMES + "t,a,1,0,1,0,1,0\n", "train/t.png": None,
        "validation-annotations-bbox.csv": NAMES + "v,b,1,0,1,0,1,0\n", "validation/v.png": None,
    },
}  # fmt: skip


@pytest.mark.parametrize("layout", FILES)
def test_every_usual_layout_is_read_and_its_splits_are_found(tmp_path: Path, layout: str) -> None:
    write(tmp_path, FILES[layout])
    divided = read_part(Part(tmp_path, AUTO, AUTO, AUTO, None, {}, None), Report(POLICIES))
    train, val = divided.stages["train"], divided.stages["val"]
    assert (names(train), names(val), divided.made) == (["a"], ["b"], [])
    assert [Path(*train.files).name, Path(*val.files).name] == ["t.png", "v.png"]
    assert len(read_records(tmp_path, ALL, "csv").ids) == 2


def test_a_single_file_makes_no_splits(tmp_path: Path) -> None:
    table(tmp_path, HEADER + "a.png,dog,1,2,3,4\n")
    assert splits(tmp_path) == []
    with pytest.raises(ValueError, match="no split train; no file or column names splits, and all"):
        read_records(tmp_path, "train", "csv")


def test_a_split_of_another_folder_does_not_hide_the_image_of_the_own(tmp_path: Path) -> None:
    files = {"train.csv": HEADER + "a.png,cat,1,2,3,4\n", "images/train/a.png": None}
    write(tmp_path, {**files, "images/val/a.png": None, "a.png": None})
    assert read_records(tmp_path, "train", "csv").ids == ["images/train/a.png"]


def test_names_may_be_windows_paths_absolute_or_have_accents_apart(tmp_path: Path) -> None:
    write(tmp_path, {"images/e\u0301.png": None, "images/b.png": None})
    rows = f"images\\b.png,dog,1,2,3,4\n{tmp_path}/a.png,dog,1,2,3,4\n\u00e9.png,dog,1,2,3,4\n"
    assert len(table(tmp_path, HEADER + rows).ids) == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no CSV file has columns"),
        ("filename,xmin,ymin,xmax,ymax\na.png,1,2,3,4\n", "no CSV file has columns"),
        ("<html>not found</html>", "no CSV file has columns"),
        (HEADER, r"labels\.csv: names no images"),
        (HEADER.replace("\n", ",label\n"), "labels.csv:1: columns class and label mean the same"),
        (HEADER.encode() + b"\xe9.png,dog,1,2,3,4\n", r"labels\.csv: .*not UTF-8 text"),
        (HEADER + '"' + "a\n" * 70_000, r"labels\.csv:\d+: field larger than field limit"),
        (HEADER.replace("\n", ",split\n") + "a.png,dog,1,2,3,4,\n", "column split is empty"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, content: str | bytes, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        table(tmp_path, content)


def test_a_header_is_told_by_its_names_not_by_the_first_row(tmp_path: Path) -> None:
    write(tmp_path, {"points.csv": "a.png,1,2,3,4\n", "numbers.csv": "1,2,3,4,5,6\n"})
    assert dialect_of(tmp_path / "points.csv") is None
    assert dialect_of(tmp_path / "numbers.csv") is None


def test_images_that_no_row_names_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, {"b.png": None, "._c.png": "", "notes.txt": ""})
    assert len(table(tmp_path, HEADER + "a.png,dog,10,20,30,40\n").ids) == 1
    assert "1 images have no annotation and are left out" in caplog.text


@pytest.mark.filterwarnings("error")
def test_numbers_that_overflow_are_no_numbers_of_a_box(tmp_path: Path) -> None:
    row = "a.png,dog,1,0.1,1e308,0.1,0.5,0\n"
    with pytest.raises(ValueError, match="column XMax is '1e308', not a number that fits"):
        table(tmp_path, NAMES + row)
