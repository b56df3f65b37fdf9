"""Known faults of such projects, and the tests that must see each; see seeded_faults.py."""

from typing import NamedTuple


class Fault(NamedTuple):
    """What goes wrong, how to make it so, and the tests each of which must see it."""

    what: str
    old: str  # a piece of code that is there once
    new: str  # what it becomes
    tests: str  # apart by blanks; below tests/, without .py
    also: tuple[str, str] = ("", "")  # another old and new

    @property
    def edits(self) -> dict[str, str]:
        return {self.old: self.new, **dict([self.also] if self.also[0] else [])}


FAULTS = (
    # data
    Fault(
        "VOC's pixels are not counted from 0",
        "return boxes - (first_pixel, first_pixel, 0, 0)",
        "return boxes",
        "test_voc::test_boxes_become_0_based_and_half_open",
    ),
    Fault(
        "`if find('difficult')`: an element without children is never true",
        'difficult = (node.findtext("difficult") or "0").strip() or "0"',
        'difficult = "1" if node.find("difficult") else "0"',
        "test_voc::test_difficult_is_what_the_file_says",
    ),
    Fault(
        "names of classes lose their capitals",
        'name = (node.findtext("name") or "").strip()\n    if not name',
        'name = (node.findtext("name") or "").strip().lower()\n    if not name',
        "test_voc::test_names_keep_their_capitals",
    ),
    Fault(
        "boxes are divided by the input's size twice",
        "placed /= (width, height, width, height)",
        "placed /= (width**2, height**2, width**2, height**2)",
        "test_dataset::test_a_plain_sample_is_the_resized_image_with_its_boxes",
    ),
    Fault(
        "images come as BGR",
        "AS_STORED = cv2.IMREAD_COLOR_RGB |",
        "AS_STORED = cv2.IMREAD_COLOR_BGR |",
        "test_images::test_red_stays_red",
    ),
    Fault(
        "pictures are not turned as EXIF says",
        "turn = TURNS.get(orientation)",
        "turn = None",
        "test_images::test_a_photograph_is_turned_as_its_exif_says",
    ),
    Fault(
        "every epoch augments alike",
        "np.random.default_rng((self.seed, epoch, index))",
        "np.random.default_rng((self.seed, index))",
        "test_dataset::test_a_sample_is_a_pure_function_of_seed_epoch_and_index",
    ),
    Fault(
        "every epoch has the order of the first",
        "epoch_seed(self.seed, self.epoch)",
        "epoch_seed(self.seed, 0)",
        "test_samplers::test_epochs_and_seeds_differ_and_each_repeats_itself",
    ),
    Fault(
        "a resumed epoch begins anew",
        "self.taken = self.resumed_at",
        "self.taken = 0",
        "test_datamodule::test_a_stopped_loader_goes_on_with_the_next_batch",
    ),
    # matching and loss
    Fault(
        "two objects may have one anchor, and the first loses it",
        "    while refused.any():",
        "    while False:",
        "test_matching::test_two_objects_that_share_their_best_anchor_both_keep_one",
    ),
    Fault(
        "an intersection over union with a margin that small boxes feel",
        "shared.div_(union.clamp_(",
        "shared.div_(union.add_(1e-5).clamp_(",
        "test_boxes::test_iou_over_a_batch_equals_torchvisions",
    ),
    Fault(
        "centers have the variance of sizes",
        "CENTER_VARIANCE = 0.1",
        "CENTER_VARIANCE = 0.2",
        "test_boxes::test_offsets_are_in_tenths_of_the_anchor_and_fifths_of_the_log_size",
    ),
    Fault(
        "anchors are clipped though none should be",
        "    return anchors.float()\n",
        "    return anchors.clamp(max=1).float()\n",
        "test_anchors::test_ssd300_anchors_equal_torchvisions_with_the_same_sizes",
    ),
    Fault(
        "images without objects teach nothing",
        "torch.where(num_positive > 0, num_positive * ratio, minimum)",
        "(num_positive * ratio)",
        "test_mining::test_an_image_without_positives_gives_the_minimum",
    ),
    Fault(
        "a loss without positives is divided by 0",
        'divisor = sums[SUMS.index("divisor")].clamp(min=1)',
        'divisor = sums[SUMS.index("divisor")]',
        "test_module::test_a_step_on_images_without_objects_changes_the_network",
    ),
    Fault(
        "each process divides its loss by its own positives",
        "sums = self.reduced(torch.stack(",
        "sums = (torch.stack(",
        "test_distributed::test_the_gradient_is_that_of_one_process_whatever_each_has",
    ),
    Fault(
        "the accumulated parts of a step are not divided by what all of them found",
        "torch._foreach_div_(self.gradients, divisor)",
        "torch._foreach_div_(self.gradients, self.parts)",
        "test_module::test_accumulated_parts_equal_the_whole_batch",
    ),
    Fault(
        "red and blue have each other's mean",
        "return (images - self.mean) / self.std",
        "return (images - self.mean.flip(0)) / self.std",
        "test_models::test_the_first_layer_normalises_each_channel",
    ),
    # evaluation
    Fault(
        "the shares of a split are filled up with images that count again",
        "order = list(range(images)) + [REPEAT] * (share * world_size - images)",
        "order = (list(range(images)) * world_size)[: share * world_size]",
        "test_samplers::test_evaluation_counts_every_image_once_in_shares_of_one_length",
    ),
    Fault(
        "images that were not scored are passed over",
        '    _check_coverage(rows.pop("seen"), self.annotations.ids)',
        '    rows.pop("seen")',
        "test_metric::test_an_image_never_seen_is_an_error_that_names_it "
        "test_metric::test_an_image_seen_twice_is_an_error_that_names_it",
    ),
    Fault(
        "each process scores what it has itself",
        "        super().__init__()\n        self.annotations = annotations\n        self.classes",
        "        super().__init__(sync_on_compute=False)\n"
        "        self.annotations = annotations\n"
        "        self.classes",
        "test_distributed::test_a_score_is_not_the_mean_of_the_ranks",
        also=(
            '    _check_coverage(rows.pop("seen"), self.annotations.ids)',
            '    rows.pop("seen")',
        ),
    ),
    Fault(
        "numbers of images go through float32",
        "self.seen.append(indices[real])",
        "self.seen.append(indices[real].float().long())",
        "test_metric::test_rows_beyond_float32_stay_exact",
    ),
    Fault(
        "equal scores rank as their images came",
        "order = torch.argsort(detections.images, stable=True)\n    order = order[",
        "order = torch.arange(len(detections.images))\n    order = order[",
        "test_precision::test_the_order_of_images_changes_nothing",
    ),
    Fault(
        "difficult objects count as missed",
        "torch.bincount(truths.labels[~truths.difficult], minlength=num_classes)",
        "torch.bincount(truths.labels, minlength=num_classes)",
        "test_precision::"
        "test_a_difficult_truth_is_not_counted_and_its_detections_are_neither_right_nor_wrong",
    ),
    Fault(
        "the recalls of the 11 points are rounded",
        "torch.arange(num_points).double() * (1 / (num_points - 1))",
        "torch.arange(num_points).double() / (num_points - 1)",
        "test_precision::test_a_recall_of_exactly_three_tenths_misses_the_fourth_point",
    ),
    Fault(
        "areas of half-open boxes count a pixel more",
        "edge = 1.0 if inclusive else 0.0",
        "edge = 1.0",
        "test_precision::test_an_overlap_of_exactly_one_half_is_enough",
    ),
    Fault(
        "a class without objects counts as 0 in the mean",
        "voc07.nanmean().item()",
        "voc07.nan_to_num(0).mean().item()",
        "test_metric::test_the_mean_over_classes_is_the_map",
    ),
    Fault(
        "boxes of the ground truth are numbered from 0, which COCO takes for no match",
        "return records(\n        id=range(1, len(boxes) + 1),",
        "return records(\n        id=range(len(boxes)),",
        "test_metric::test_the_ground_truth_file_numbers_from_one_and_marks_difficult_boxes",
    ),
    # checkpoints and resumed runs
    Fault(
        "a file takes another's place before it is on the disk",
        "os.fsync(file.fileno())\n        os.replace(part, path)",
        "os.replace(part, path)",
        "test_checkpointing::test_a_file_is_on_the_disk_before_it_takes_anothers_place",
    ),
    Fault(
        "a file whose checksum is wrong is taken",
        "if found.hexdigest().encode() != digest:",
        "if False:",
        "test_weight_files::test_every_flipped_byte_is_refused_or_harmless "
        "test_checkpointing::test_a_run_does_not_go_on_from_a_damaged_checkpoint",
    ),
    Fault(
        "what a file says is run",
        "weights_only=True)\n    except",
        "weights_only=False)\n    except",
        "test_security::test_no_line_runs_what_a_file_says "
        "test_faults::test_a_file_that_holds_no_weights_is_named_in_one_line_and_runs_nothing",
    ),
    Fault(
        "weights that a file lacks stay as they are, unsaid",
        "network.load_state_dict(network_weights(checkpoint))",
        "network.load_state_dict(network_weights(checkpoint), strict=False)",
        "test_checkpoints::test_weights_that_are_missing_are_an_error",
    ),
    Fault(
        "a checkpoint has no state of the optimizer",
        "trainer.save_checkpoint(self.path)",
        "trainer.save_checkpoint(self.path, weights_only=True)",
        "test_module::test_a_resumed_run_ends_with_the_same_bits",
    ),
    Fault(
        "a resumed schedule begins anew",
        "base * factor(schedule.last_epoch)",
        "base * factor(0)",
        "test_module::test_a_longer_schedule_holds_from_the_first_resumed_step",
    ),
    Fault(
        "a score that is no number is the best for ever",
        "if current is not None and current.isnan():",
        "if False:",
        "test_checkpoint_callbacks::test_a_score_that_is_no_number_is_never_the_best",
    ),
    Fault(
        "averaged weights are saved, but not scored",
        "        super()._swap_models(module)\n        self.swapped = not self.swapped",
        "        return",
        "test_averaging::test_the_average_is_scored_and_the_weights_go_on",
    ),
    Fault(
        "a run goes on with a loss that is no number",
        "        if not step.finite:",
        "        if False:",
        "test_finite::test_a_run_that_diverges_stops_before_anything_of_it_is_saved",
    ),
    Fault(
        "a resumed run repeats rows of the metrics file",
        'if int(row["step"]) < (self.keep_until or 0)',
        "if True",
        "test_metrics_file::test_the_metrics_file_continues_at_the_resumed_step",
    ),
    Fault(
        "an epoch is trained twice by a run that was stopped twice",
        "counted.ready = counted.started = counted.processed + 1",
        "pass",
        "test_checkpoint_callbacks::test_a_run_that_is_stopped_often_trains_each_epoch_once",
    ),
)
