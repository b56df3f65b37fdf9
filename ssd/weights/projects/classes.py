"""The class lists of the data sets that published weights have learned from."""

VOC_NAMES = (
    "aeroplane, bicycle, bird, boat, bottle, bus, car, cat, chair, cow, diningtable, dog, horse, "
    "motorbike, person, pottedplant, sheep, sofa, train, tvmonitor"
)
COCO_NAMES = (
    "person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, "
    "fire hydrant, stop sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, "
    "bear, zebra, giraffe, backpack, umbrella, handbag, tie, suitcase, frisbee, skis, snowboard, "
    "sports ball, kite, baseball bat, baseball glove, skateboard, surfboard, tennis racket, "
    "bottle, wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange, broccoli, "
    "carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed, dining table, toilet, "
    "tv, laptop, mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink, "
    "refrigerator, book, clock, vase, scissors, teddy bear, hair drier, toothbrush"
)
VOC, COCO = VOC_NAMES.split(", "), COCO_NAMES.split(", ")

# Ids of COCO that no category has; heads that count by id have a row for each all the same
GAPS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
SPARE = 200  # object classes that ssd.pytorch's heads on COCO have, of which 80 are used


def coco_by_id() -> list[str]:
    """The 90 names of COCO's ids 1 to 90."""
    names = iter(COCO)
    return [f"N/A {i}" if i in GAPS else next(names) for i in range(1, 91)]


def known_classes(num_classes: int) -> list[str] | None:
    """The names that so many classes, with the background, have in VOC or COCO."""
    lists = (VOC, COCO, coco_by_id(), [*COCO, *(f"N/A {i}" for i in range(81, SPARE + 1))])
    return {len(names) + 1: names for names in lists}.get(num_classes)
