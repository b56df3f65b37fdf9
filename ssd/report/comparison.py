"""Two checkpoints on the same split: which is better, by how much, and whether that is chance."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ssd.analysis.errors import KINDS
from ssd.analysis.intervals import Difference, paired_difference
from ssd.report.assessment import Assessment
from ssd.report.charts import KIND_NAMES, RULES, Chart, draw_charts
from ssd.report.figures.style import number, signed
from ssd.report.gallery import draw_found
from ssd.report.page import run, shown, speeds, write_all
from ssd.report.pieces import Fact, empty, facts, gallery, halves, items, safe, table


def write_comparison(folder: Path, first: Assessment, second: Assessment) -> dict[str, Chart]:
    """Write report.html and figures/ of both into a folder; returns the figures, by name."""
    drawn = draw_charts([first, second])
    both = (first, second)
    sections = {
        "scores": ("Which is better", scores(first, second, drawn)),
        "curves": ("What a threshold costs", thresholds(first, second, drawn)),
        "errors": ("What goes wrong", errors(first, second, drawn)),
        "pictures": ("What only one of them finds", pictures(first, second)),
        "calibration": ("What scores mean", [shown(drawn, "calibration")]),
        "speed": ("How fast they are", speeds(both)),
        "run": ("What was scored", [run(both)]),
    }
    title = f"{second.name} against {first.name}, {first.stage} split"
    write_all(folder, title, facts(summary(first, second)), sections, drawn)
    return drawn


def paired(first: Assessment, second: Assessment) -> dict[str, Difference]:
    """By the metric names, without the stage."""
    return {
        name: paired_difference(drawn, second.resampled[name])
        for name, drawn in first.resampled.items()
    }


def difference_results(first: Assessment, second: Assessment) -> dict[str, Any]:
    """What results.json says of two: the second less the first."""
    front = f"{first.stage}/difference"
    results: dict[str, Any] = {
        "first": first.facts["checkpoint"],
        "second": second.facts["checkpoint"],
    }
    for name, before, after in rows_of(first.scored.summary, second.scored.summary):
        results[f"{front}/{name}"] = after - before
    for name, found in paired(first, second).items():
        results[f"{front}/{name}_interval"] = [found["low"], found["high"]]
    for name, before, after in rows_of(costs(first), costs(second)):
        results[f"{front}/error_cost/{name}"] = after - before
    return results


def costs(found: Assessment) -> dict[str, float]:
    return {kind["kind"]: kind["cost"] for kind in found.costs["kinds"]}


def rows_of(
    first: Mapping[str, float], second: Mapping[str, float]
) -> Iterator[tuple[str, float, float]]:
    return ((name, value, second[name]) for name, value in first.items())


def summary(first: Assessment, second: Assessment) -> list[Fact]:
    found = [
        Fact(signed(one["value"]), f"{RULES[name]}: {interval(one)}", "scores", mood(one))
        for name, one in paired(first, second).items()
    ]
    rates = [f"{one.speed['images_per_second']:.1f}" for one in (first, second)]
    return [
        *found,
        *(Fact(number(one.scored.summary["map"]), f"mAP of {one.name}", "scores")
          for one in (first, second)),
        Fact(" | ".join(rates), "images per second", "speed"),
    ]  # fmt: skip


def interval(found: Difference) -> str:
    return f"95% {signed(found['low'])} to {signed(found['high'])}"


def mood(found: Difference) -> str:
    """Good or bad where the interval leaves out that there is no difference."""
    if found["low"] > 0:
        return "good"
    return "bad" if found["high"] < 0 else ""


def verdicts(first: Assessment, second: Assessment) -> list[str]:
    """Which is better, in a sentence for each measure that has an interval."""
    return [
        f"{RULES[name]}: {verdict(found, first, second)}"
        for name, found in paired(first, second).items()
    ]


def verdict(found: Difference, first: Assessment, second: Assessment) -> str:
    value, images = found["value"], len(first.scored.annotations.ids)
    if not value:
        return f"{first.name} and {second.name} are equal"
    if math.isnan(value):
        return "the split holds no object that counts"
    better, worse = (second, first) if value > 0 else (first, second)
    lead = f"{better.name} is better than {worse.name} by {number(abs(value))}"
    sure = "that is not the choice" if mood(found) else "that may be the choice"
    ends = sorted(
        abs(value) / value * found[end] for end in ("low", "high")
    )  # of better less worse
    return f"{lead}, and {sure} of the {images} images: 95% {signed(ends[0])} to {signed(ends[1])}"


def scores(first: Assessment, second: Assessment, drawn: Mapping[str, Chart]) -> Iterator[str]:
    yield items(verdicts(first, second))
    if first.resampled:
        yield (
            '<p class="soft">The difference is that of the same images, drawn again and again from '
            "the split, so its interval is narrower than those of the two scores.</p>"
        )
    yield shown(drawn, "map", "sizes", "ap", "differences")
    rules = [labelled(one.scored.summary) for one in (first, second)]
    aps = [{row["name"]: row["ap"] for row in one.scored.table} for one in (first, second)]
    yield compared("mAP", *rules, first, second)  # a column for each name: too wide for halves
    yield compared("AP .50:.95", *aps, first, second)


def labelled(scores: Mapping[str, float]) -> dict[str, float]:
    return {what: scores[name] for name, what in RULES.items()}


def compared(
    what: str,
    before: Mapping[str, float],
    after: Mapping[str, float],
    first: Assessment,
    second: Assessment,
) -> str:
    """A table of both and of the second less the first."""
    rows = [[name, number(a), number(b), signed(b - a)] for name, a, b in rows_of(before, after)]
    return table([what, first.name, second.name, "difference"], rows)


def thresholds(first: Assessment, second: Assessment, drawn: Mapping[str, Chart]) -> Iterator[str]:
    both = (first, second)
    yield shown(
        drawn,
        *(f"{what}_{one.name}" for what in ("precision_recall", "thresholds") for one in both),
    )
    yield "<h3>The best threshold of each class, and its F1</h3>"
    names = [f"{what}, {one.name}" for one in both for what in ("threshold", "F1")]
    yield table(
        ["class", *names],
        [
            [name, *(number(one[key]) for one in points for key in ("threshold", "f1"))]
            for name, *points in zip(first.classes, first.points, second.points, strict=True)
        ],
    )


def errors(first: Assessment, second: Assessment, drawn: Mapping[str, Chart]) -> Iterator[str]:
    named = [{KIND_NAMES[kind]: costs(one)[kind] for kind in KINDS} for one in (first, second)]
    yield halves(shown(drawn, "errors"), compared("mAP@.50 lost to", *named, first, second))
    yield shown(drawn, *(f"confusion_{one.name}" for one in (first, second)))


def pictures(first: Assessment, second: Assessment) -> Iterator[str]:
    yield (
        '<p class="soft">Left the truth in blue, right the detections of the one that lacks it, '
        "kept by the best threshold of their class; the largest objects first.</p>"
    )
    for finder, other in ((first, second), (second, first)):
        figures, count = draw_found(finder, other)
        yield f"<h3>{count} objects that only {safe(finder.name)} finds</h3>"
        yield gallery(figures, "pairs") or empty(f"{other.name} finds all of them, too.")
