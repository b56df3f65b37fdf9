"""Cases 1 to 56: annotations in VOC's XML. The image is a.png, 60x40 pixels, and holds a dog."""

from collections.abc import Callable
from pathlib import Path

from corpus.cases import ACCEPTED, ERROR, NOTED, POLICY, Case
from PIL import Image
from voc import annotation, write_annotation, write_image, write_split

DOG = ("dog", 11, 6, 20, 15)
READ = [10, 5, 20, 15]  # DOG, 0-based and half-open
VALID = annotation([DOG])
OBJECT = VALID[VALID.index("<object>") : VALID.index("</annotation>")]
MANY = [("dog", 1 + i % 50, 1, 10 + i % 50, 10 + i // 50) for i in range(1000)]
MANY_READ = [[x1 - 1, y1 - 1, x2, y2] for _, x1, y1, x2, y2 in MANY]
LAUGHS = (
    '<!DOCTYPE l [<!ENTITY a "ha">'
    + "".join(
        f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    + "]>"
)


def data_set(root: Path, content: str | bytes, name: str = "a.xml") -> None:
    write_image(root, "a")
    path = write_annotation(root, "a", "").with_name(name)
    (root / "Annotations" / "a.xml").unlink()
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    write_split(root, "train", ["a"])


def holding(content: str | bytes) -> Callable[[Path], None]:
    return lambda root: data_set(root, content)


def changed(old: str, new: str) -> Callable[[Path], None]:
    assert old in VALID
    return holding(VALID.replace(old, new))


def boxed(*boxes: tuple) -> Callable[[Path], None]:
    return holding(annotation(list(boxes)))


def with_filename(name: str) -> Callable[[Path], None]:
    return changed("<annotation>", f"<annotation><filename>{name}</filename>")


def rotated(root: Path) -> None:
    """The camera stored 60x40 pixels; turned clockwise they are 40x60."""
    data_set(root, VALID)
    path = root / "JPEGImages" / "a.png"
    with Image.open(path) as image:
        exif = image.getexif()
        exif[0x0112] = 6
        image.save(path, exif=exif)


def linked(root: Path) -> None:
    data_set(root, VALID)
    path = root / "JPEGImages" / "a.png"
    elsewhere = root.with_name(f"{root.name}_elsewhere.png")
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


def with_resource_fork(root: Path) -> None:
    data_set(root, VALID)
    (root / "Annotations" / "._a.xml").write_bytes(b"\0\5\26\7")


CASES = [
    Case(1, "empty file", holding(""), ERROR, "not XML"),
    Case(2, "white space", holding(" \n\t"), ERROR, "not XML"),
    Case(3, "a page that says 404", holding("<html><p>404</p></html>"), ERROR, "root is 'html'"),
    Case(4, "cut in the middle", holding(VALID[:120]), ERROR, "not XML.*line 1, column"),
    Case(5, "two roots", holding(VALID + VALID), ERROR, "not XML.*junk after"),
    Case(6, "wrong root", holding(VALID.replace("annotation>", "note>")), ERROR, "root is 'note'"),
    Case(7, "invalid UTF-8", holding(VALID.encode().replace(b"dog", b"d\xffg")), ERROR, "not XML"),
    Case(8, "NUL byte", holding(VALID.replace("dog", "d\0g")), ERROR, "not XML"),
    Case(9, "byte order mark", holding(b"\xef\xbb\xbf" + VALID.encode()), ACCEPTED, boxes=[READ]),
    Case(10, "UTF-16", holding(VALID.encode("utf-16")), ACCEPTED, boxes=[READ]),
    Case(
        11,
        "latin-1, declared",
        holding(b'<?xml version="1.0" encoding="latin-1"?><!-- \xe9 -->' + VALID.encode()),
        ACCEPTED,
        boxes=[READ],
    ),
    Case(
        11,
        "an encoding that there is not",
        holding(f'<?xml version="1.0" encoding="klingon"?>{VALID}'),
        ERROR,
        "unknown encoding: klingon",
    ),
    Case(12, "bare ampersand", changed("dog", "d&g"), ERROR, "not XML"),
    Case(
        13,
        "no size",
        changed("<size><width>60</width><height>40</height></size>", ""),
        NOTED,
        "1 annotations state no size",
        [READ],
    ),
    Case(14, "width 0", changed(">60<", ">0<"), NOTED, "1 annotations state no size", [READ]),
    Case(14, "width -1", changed(">60<", ">-1<"), NOTED, "1 annotations state no size", [READ]),
    Case(14, "width 60.5", changed(">60<", ">60.5<"), ERROR, "size is 60.5x40, not whole"),
    Case(14, "no width", changed("<width>60</width>", ""), ERROR, "size: width is missing"),
    Case(
        15,
        "another size",
        changed(">60<", ">61<"),
        POLICY,
        "size is 61x40, but a.png is 60x40",
        [],
        "size_mismatch",
    ),
    Case(
        16,
        "the size before EXIF turns it",
        rotated,
        NOTED,
        "1 images have boxes of before EXIF turns them",
        [[25, 10, 35, 20]],
    ),
    Case(17, "no object", holding(annotation([])), ACCEPTED, boxes=[]),
    Case(18, "no name", changed("<name>dog</name>", ""), ERROR, "object 1.*has no name"),
    Case(19, "empty name", changed("dog", " "), ERROR, "object 1.*has no name"),
    Case(
        19, "a name of two lines", changed("dog", "d\nog"), ERROR, "object 1.*name is not one line"
    ),
    Case(20, "unknown class", changed("dog", "emu"), POLICY, "class 'emu'", [], "unknown_class"),
    Case(21, "a class's other case", changed("dog", "Dog"), ERROR, "'Dog', did you mean dog"),
    Case(22, "spaces around a name", changed("dog", " dog\n"), ACCEPTED, boxes=[READ]),
    Case(23, "no bndbox", changed("bndbox", "box"), ERROR, r"object 1 \(dog\): has no bndbox"),
    Case(24, "no xmin", changed("<xmin>11</xmin>", ""), ERROR, "bndbox: xmin is missing"),
    Case(25, "empty xmin", changed("<xmin>11", "<xmin>"), ERROR, "bndbox: xmin is ''"),
    Case(26, "12.5", changed(">11<", ">12.5<"), ACCEPTED, boxes=[[11.5, 5, 20, 15]]),
    *(
        Case(27, text, changed(">11<", f">{text}<"), ERROR, "bndbox: xmin is '.*', not a number")
        for text in ("nan", "inf", "1e3", "1_000", "\uff11\uff11", "0x0b", "9" * 400)
    ),
    Case(28, "12,5", changed(">11<", ">12,5<"), ERROR, "bndbox: xmin is '12,5', not a number"),
    Case(
        29,
        "negative coordinate",
        changed(">11<", ">-4<"),
        NOTED,
        "1 boxes reach over their image",
        [[0, 5, 20, 15]],
    ),
    Case(
        30,
        "partly outside",
        changed(">20<", ">70<"),
        NOTED,
        "1 boxes reach over their image",
        [[10, 5, 60, 15]],
    ),
    *(
        Case(number, what, boxed(box, *MANY), POLICY, says, MANY_READ, "bad_box")
        for number, what, box, says in (
            (31, "outside", ("dog", 70, 6, 80, 15), r"object 1 \(dog\): outside the 60x40 image"),
            (32, "xmin is xmax", ("dog", 11, 6, 11, 15), r"object 1 \(dog\): no width or height"),
            (33, "xmin over xmax", ("dog", 20, 6, 11, 15), r"object 1 \(dog\): no width or height"),
        )
    ),
    Case(
        34,
        "one coordinate of 0 in many",
        boxed(*MANY[1:30], ("dog", 0, 6, 20, 15)),
        NOTED,
        "1 boxes have a coordinate of 0",
        [*MANY_READ[1:30], [0, 5, 20, 15]],
    ),
    Case(
        34,
        "counted from 0",
        boxed(DOG, ("dog", 0, 0, 9, 9)),
        ERROR,
        "1 of 2 boxes.*VOC counts from 1",
    ),
    Case(35, "two pixels", boxed(("dog", 11, 6, 12, 15)), ACCEPTED, boxes=[[10, 5, 12, 15]]),
    Case(36, "the whole image", boxed(("dog", 1, 1, 60, 40)), ACCEPTED, boxes=[[0, 0, 60, 40]]),
    Case(37, "no difficult", changed("<difficult>0</difficult>", ""), ACCEPTED, boxes=[READ]),
    Case(38, "empty difficult", changed("t>0<", "t><"), ACCEPTED, boxes=[READ]),
    Case(
        39,
        "difficult is true",
        changed("t>0<", "t>true<"),
        ERROR,
        "difficult is 'true', not 0 or 1",
    ),
    Case(39, "difficult is 2", changed("t>0<", "t>2<"), ERROR, "difficult is '2', not 0 or 1"),
    Case(
        40,
        "an object twice",
        boxed(DOG, DOG),
        NOTED,
        "1 objects are in their image twice",
        [READ] * 2,
    ),
    Case(
        41,
        "other order",
        changed(
            "<xmin>11</xmin><ymin>6</ymin><xmax>20</xmax><ymax>15</ymax>",
            "<ymax>15</ymax><ymin>6</ymin><xmax>20</xmax><xmin>11</xmin>",
        ),
        ACCEPTED,
        boxes=[READ],
    ),
    Case(42, "two bndbox", changed("</object>", "<bndbox/></object>"), ERROR, "has 2 bndbox"),
    Case(
        43,
        "an object's parts",
        changed("</object>", "<part><name>head</name><bndbox/></part></object>"),
        ACCEPTED,
        boxes=[READ],
    ),
    Case(44, "10,000 objects", boxed(*MANY * 10), NOTED, "9000 objects are", MANY_READ * 10),
    Case(
        44,
        "1,000,000 objects",
        changed(OBJECT, "<object/>" * 1_000_000),
        ERROR,
        "larger than 5 MiB",
    ),
    Case(45, "5 MiB", changed("</size>", "</size>" + " " * 5 * 2**20), ERROR, "larger than 5 MiB"),
    *(
        Case(
            number,
            name,
            with_filename(name),
            NOTED,
            "1 annotations give the name of another",
            [READ],
        )
        for number, name in (
            (46, "b.png"),
            (47, "../../etc/passwd"),
            (48, "/etc/passwd"),
        )
    ),
    Case(48, "its own file elsewhere", with_filename("C:\\data\\a.jpg"), ACCEPTED, boxes=[READ]),
    Case(
        49,
        "a link out of the folder",
        linked,
        ERROR,
        "a.png: is a link that leaves",
    ),
    Case(
        50, "billion laughs", holding(LAUGHS + VALID.replace("dog", "&i;")), ERROR, "has a DOCTYPE"
    ),
    Case(
        50,
        "billion laughs in UTF-16",
        holding((LAUGHS + VALID.replace("dog", "&i;")).encode("utf-16-be")),
        ERROR,
        "has a DOCTYPE",
    ),
    Case(
        51,
        "an entity many times",
        holding(f'<!DOCTYPE l [<!ENTITY a "{"x" * 5000}">]>' + VALID.replace("dog", "&a;" * 500)),
        ERROR,
        "has a DOCTYPE",
    ),
    Case(
        52,
        "an entity from a file",
        holding(
            '<!DOCTYPE l [<!ENTITY a SYSTEM "file:///etc/passwd">]>' + VALID.replace("dog", "&a;")
        ),
        ERROR,
        "has a DOCTYPE",
    ),
    Case(
        53,
        "a DTD from the network",
        holding('<!DOCTYPE annotation SYSTEM "http://localhost:9/a.dtd">' + VALID),
        ERROR,
        "has a DOCTYPE",
    ),
    Case(
        54,
        "200,000 levels",
        changed("</size>", "</size>" + "<a>" * 200_000 + "</a>" * 200_000),
        ERROR,
        "nested more than 10 levels",
    ),
    Case(
        54,
        "1,000,000 tags",
        changed("</size>", "</size>" + "<a>" * 1_000_000),
        ERROR,
        "more than 500,000 tags",
    ),
    Case(
        55,
        "suffix in capitals",
        lambda root: data_set(root, VALID, "a.XML"),
        ACCEPTED,
        boxes=[READ],
    ),
    Case(56, "macOS' second file", with_resource_fork, ACCEPTED, boxes=[READ], split="all"),
]
