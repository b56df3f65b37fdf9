"""Boxes as files have them, checked against their image: every reader's last step."""

from collections.abc import Sequence

from ssd.data.checks import Report
from ssd.data.columns import Object

CLIPPED = "boxes reach over their image and are clipped to it"


def checked(
    objects: Sequence[Object],
    size: tuple[int, int],
    where: str,
    report: Report,
    inclusive: bool = False,
) -> list[Object]:
    """The objects whose boxes hold something of the image, clipped to it; others are faults.

    where: the annotation's file; inclusive: whether its boxes were 1-based and inclusive, as VOC's;
    one whose xmin is its xmax is a slip of a tool there, and not one pixel wide
    """
    width, height = size
    first = int(inclusive)
    good = []
    for index, item in enumerate(objects, start=1):
        report.boxes += 1
        x1, y1, x2, y2 = item.box
        inside = (max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height)))
        flat = x1 + first >= x2 or y1 + first >= y2
        if flat or inside[0] >= inside[2] or inside[1] >= inside[3]:
            why = "no width or height" if flat else f"outside the {width}x{height} image"
            corners = f"xmin {x1 + first:g}, ymin {y1 + first:g}, xmax {x2:g}, ymax {y2:g}"
            report.fault("bad_box", f"{where}: object {index} ({item.name}): {why} ({corners})")
            continue
        if inside != item.box:
            report.note(CLIPPED)
            item = item._replace(box=inside)
        good.append(item)
    return good
