"""Public entry points x kinds of fault that people meet: what each does, and the test of it.

A cell names a test, ``file::test`` below ``tests/``, or says after a dash why the kind cannot occur
there. An empty cell fails, and so does one whose test is not there.

    A  a type or encoding is guessed, and the other case passes
    B  what matches no pattern drops out uncounted
    C  two conventions disagree (EXIF, order of axes or coordinates, patients)
    D  not-a-number or inverted input reaches a score
    E  sums in low precision
    F  a resume trusts new options
    G  an exception comes late, or is another program's
"""

import ast
import importlib
import warnings
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segedu.data import LAYOUTS, open_dataset
from tests.data.tiny import HEIGHT, WIDTH, labels, picture, write

TESTS = Path(__file__).parent
KINDS = "ABCDEFG"
ON_DISK = tuple(name for name in LAYOUTS if name != "scenes")

# Their lists name files with the ending, or all files have the same.
NAMED_WITH_ENDING = ("camvid", "cityscapes", "coco", "coco-panoptic")

# What the loaders have in common.
INTEGERS = "- holds integers alone: a file of fractions is refused"
NO_SUM = "- adds nothing up"
NO_RESUME = "- keeps nothing between runs"
ONE_FILE = "- reads the one file that it is given"
LOADER = {
    "A": "test_public_faults.py::test_16_bits_in_every_layout",
    "B": "test_public_faults.py::test_endings_in_capitals_in_every_layout",
    "C": "test_public_faults.py::test_exif_in_every_layout",
    "D": INTEGERS,
    "E": NO_SUM,
    "F": NO_RESUME,
}
TRANSFORM = {
    "B": "- drops no sample; objects out of sight by intent",
    "C": "data/test_transforms.py::test_plain_tensors_move_with_their_image",
    "D": "data/test_transforms.py::test_parts_that_no_transform_could_move",
    "E": NO_SUM,
    "F": NO_RESUME,
    "G": "data/test_transforms.py::test_parts_that_no_transform_could_move",
}

TABLE: dict[str, dict[str, str]] = {
    # files
    "segedu.data.images.read_image": {
        "A": "data/test_images.py::test_16_bit_ramp_keeps_its_mean",
        "B": ONE_FILE,
        "C": "data/test_images.py::test_files_are_turned_as_viewers_show_them",
        "D": "data/test_images.py::test_32_bit_images_are_refused",
        "E": NO_SUM,
        "F": NO_RESUME,
        "G": "data/test_images.py::test_broken_files_are_named",
    },
    "segedu.data.images.read_values": {
        "A": "data/test_images.py::test_numbers_of_every_depth",
        "B": ONE_FILE,
        "C": "data/test_images.py::test_files_are_turned_as_viewers_show_them",
        "D": "data/test_images.py::test_colors_and_fractions_are_no_labels",
        "E": NO_SUM,
        "F": NO_RESUME,
        "G": "data/test_images.py::test_colors_and_fractions_are_no_labels",
    },
    "segedu.data.images.list_images": {
        "A": "- looks at names alone",
        "B": "data/test_images.py::test_every_file_is_listed_or_counted",
        "C": "- looks at names alone",
        "D": "- looks at names alone",
        "E": NO_SUM,
        "F": NO_RESUME,
        "G": "data/test_images.py::test_every_file_is_listed_or_counted",
    },
    "segedu.data.classes.class_table": {
        "A": "data/test_classes.py::test_numbers",
        "B": "data/test_classes.py::test_errors",
        "C": "data/test_classes.py::test_colours",
        "D": "- numbers are whole, in 0..65535",
        "E": NO_SUM,
        "F": NO_RESUME,
        "G": "data/test_classes.py::test_errors",
    },
    # loaders
    "segedu.data.pairs.PairDataset": {
        "A": "data/test_pairs.py::test_split_of_0_and_255_is_refused_as_a_whole",
        "B": "data/test_pairs.py::test_ending_in_another_case_is_the_same_file",
        "C": "data/test_pairs.py::test_exif_is_named_where_it_parts_image_and_labels",
        "D": INTEGERS,
        "E": NO_SUM,
        "F": NO_RESUME,
        "G": "data/test_pairs.py::test_unknown_label_names_file_value_and_allowed",
    },
    "segedu.data.folders.FolderSegmentation": LOADER
    | {
        "A": "data/test_layouts.py::test_masks_of_three_kinds",
        "B": "data/test_layouts.py::test_what_has_no_partner_is_counted",
        "G": "data/test_layouts.py::test_names_that_do_not_match",
    },
    "segedu.data.folders.FolderObjects": LOADER
    | {"G": "data/test_layouts.py::test_maps_that_number_objects"},
    "segedu.data.voc.VOCSegmentation": LOADER
    | {"G": "data/test_voc.py::test_errors_name_what_is_wrong"},
    "segedu.data.voc.VOCObjects": LOADER
    | {"G": "data/test_voc.py::test_objects_without_one_class"},
    "segedu.data.camvid.CamVid": LOADER | {"G": "test_bad_input.py::test_wrong_input_is_named"},
    "segedu.data.cityscapes.Cityscapes": LOADER
    | {"G": "test_bad_input.py::test_wrong_input_is_named"},
    "segedu.data.cityscapes.CityscapesObjects": LOADER
    | {"G": "test_bad_input.py::test_wrong_input_is_named"},
    "segedu.data.coco.CocoInstances": LOADER
    | {
        "D": "data/test_coco.py::test_errors_name_file_id_and_value",
        "G": "data/test_coco.py::test_errors_name_file_id_and_value",
    },
    "segedu.data.coco_panoptic.CocoPanoptic": LOADER
    | {"G": "data/test_coco_panoptic.py::test_wrong_files"},
    "segedu.data.object_folders.ObjectFolders": LOADER
    | {"G": "data/test_object_folders.py::test_errors_name_what_is_wrong"},
    "segedu.data.labelme.LabelMe": LOADER
    | {
        "B": "data/test_layouts.py::test_labelme_shapes",
        "G": "data/test_layouts.py::test_labelme_errors",
    },
    "segedu.data.yolo.YoloSegmentation": LOADER
    | {
        "B": "data/test_layouts.py::test_yolo_polygons",
        "D": "data/test_layouts.py::test_yolo_lines_that_are_wrong",
        "G": "data/test_layouts.py::test_yolo_lines_that_are_wrong",
    },
    "segedu.data.pennfudan.PennFudan": LOADER
    | {"G": "data/test_pennfudan.py::test_errors_name_what_is_wrong"},
    "segedu.data.open_dataset": LOADER
    | {
        "C": "data/test_layouts.py::test_val_split_keeps_groups_together",
        "G": "data/test_layouts.py::test_errors",
    },
    # transforms
    "segedu.data.transforms.training": TRANSFORM
    | {"A": "data/test_transforms.py::test_masks_of_every_integer_type_are_padded_with_ignore"},
    "segedu.data.transforms.evaluation": TRANSFORM
    | {
        "A": "data/test_transforms.py::test_masks_of_every_integer_type_are_padded_with_ignore",
        "B": "- drops nothing",
        "C": "data/test_transforms.py::test_shrunk_masks_agree_with_the_majority",
    },
    "segedu.data.transforms.instances": TRANSFORM
    | {"A": "data/test_transforms.py::test_parts_that_no_transform_could_move"},
    "segedu.ops.resize_labels": {
        "A": "ops/test_masks.py::test_labels_of_every_type_show_the_pixel_under_their_centre",
        "B": "- takes one map",
        "C": "ops/test_masks.py::test_labels_of_every_type_show_the_pixel_under_their_centre",
        "D": "- mixes no values",
        "E": NO_SUM,
        "F": NO_RESUME,
        "G": "test_bad_input.py::test_wrong_input_is_named",
    },
    # looking at data
    "segedu.data.channel_statistics": {
        "A": "data/test_statistics.py::test_errors",
        "B": "- takes every sample",
        "C": "data/test_statistics.py::test_statistics_are_those_of_all_pixels_at_once",
        "D": "- takes uint8 alone",
        "E": "data/test_statistics.py::test_small_deviations_survive",
        "F": NO_RESUME,
        "G": "data/test_statistics.py::test_errors",
    },
    # medical
    "segedu.medical.nifti.read_nifti": {
        "A": "medical/test_nifti.py::test_the_bytes_say_whether_a_file_is_packed",
        "B": ONE_FILE,
        "C": "medical/test_nifti.py::test_simpleitk_sees_the_same_image",
        "D": "medical/test_nifti.py::test_nan_voxels_are_refused",
        "E": NO_SUM,
        "F": NO_RESUME,
        "G": "medical/test_nifti.py::test_what_cannot_be_trusted_is_refused",
    },
    "segedu.medical.read_series": {
        "A": "medical/test_dicom_refused.py::test_what_cannot_be_trusted_is_refused",
        "B": "medical/test_dicom_refused.py::test_a_file_without_preamble_does_not_vanish",
        "C": "medical/test_dicom_refused.py::test_what_cannot_be_trusted_is_refused",
        "D": "medical/test_dicom_refused.py::test_odd_numbers_are_refused",
        "E": NO_SUM,
        "F": NO_RESUME,
        "G": "medical/test_main.py::test_mistakes_become_one_sentence",
    },
    "segedu.medical.scans.find_scans": {
        "A": "- looks at names alone",
        "B": "medical/test_scans.py::test_files_beside_the_scans_are_counted",
        "C": "medical/test_project.py::test_scans_of_one_patient_are_not_split",
        "D": "- looks at names alone",
        "E": NO_SUM,
        "F": NO_RESUME,
        "G": "medical/test_project.py::test_scans_of_one_patient_are_not_split",
    },
    # the command line
    "segedu.cli.check.run": {
        "A": "cli/test_check.py::test_errors_end_with_1_and_name_the_file",
        "B": "cli/test_check.py::test_warnings_count_when_asked_to",
        "C": "clinic/test_datasets.py::test_turned_labels_are_unusable_and_the_reason_is_said",
        "D": INTEGERS,
        "E": "- counts in whole numbers",
        "F": NO_RESUME,
        "G": "cli/test_commands.py::test_mistakes_are_one_line",
    },
    "segedu.cli.train.run": {
        "A": "cli/test_train.py::test_binary_masks_and_a_file_of_classes",
        "B": "cli/test_check.py::test_warnings_count_when_asked_to",
        "C": "data/test_layouts.py::test_val_split_keeps_groups_together",
        "D": INTEGERS,
        "E": NO_SUM,
        "F": "cli/test_commands.py::test_resume_takes_what_may_change_and_names_what_may_not",
        "G": "cli/test_commands.py::test_mistakes_are_one_line",
    },
    "segedu.cli.evaluate.run": {
        "A": "cli/test_evaluate.py::test_a_prediction_without_a_class_is_refused",
        "B": "cli/test_evaluate.py::test_masks_without_a_partner_are_counted",
        "C": "cli/test_evaluate.py::test_sizes_must_agree",
        "D": "cli/test_evaluate.py::test_a_prediction_without_a_class_is_refused",
        "E": "- counts in whole numbers",
        "F": NO_RESUME,
        "G": "cli/test_commands.py::test_mistakes_are_one_line",
    },
    "segedu.clinic.examine": {
        "A": "clinic/test_datasets.py::test_black_and_white_masks",
        "B": "clinic/test_datasets.py::test_every_fault_is_found",
        "C": "clinic/test_datasets.py::test_turned_labels_are_unusable_and_the_reason_is_said",
        "D": INTEGERS,
        "E": "- counts in whole numbers",
        "F": NO_RESUME,
        "G": "clinic/test_datasets.py::test_nothing_to_examine",
    },
    # the command line
    "segedu.cli.predict.run": {
        "A": "cli/test_predict.py::test_other_modes_reach_a_network_of_colours",
        "B": "cli/test_predict.py::test_unreadable_files_are_counted_and_change_the_exit_status",
        "C": "cli/test_predict.py::test_pictures_are_turned_as_the_camera_says",
        "D": "cli/test_predict.py::test_a_network_that_is_not_finite",
        "E": "engine/test_inference.py::test_half_precision_gives_probabilities",
        "F": NO_RESUME,
        "G": "cli/test_predict.py::test_mistakes",
    },
    "segedu.cli.export.run": {
        "A": "cli/test_export.py::test_the_file_is_all_that_another_program_needs",
        "B": "- takes one checkpoint",
        "C": "cli/test_export.py::test_the_file_is_all_that_another_program_needs",
        "D": "engine/test_export.py::test_a_network_that_is_not_finite_is_not_kept",
        "E": NO_SUM,
        "F": NO_RESUME,
        "G": "cli/test_export.py::test_mistakes",
    },
    "segedu.engine.export.export_onnx": {
        "A": "- writes single precision, and the file says so",
        "B": "- takes one network",
        "C": "engine/test_export.py::test_every_network_exports_with_any_size_or_says_why_not",
        "D": "engine/test_export.py::test_a_network_that_is_not_finite_is_not_kept",
        "E": NO_SUM,
        "F": NO_RESUME,
        "G": "engine/test_export.py::test_a_missing_package_is_named_with_its_extra",
    },
    "segedu.engine.export_objects.export_detector": {
        "A": "- writes single precision, and the file says so",
        "B": "- takes one network",
        "C": "engine/test_export_objects.py::test_the_file_finds_the_same",
        "D": "engine/test_export_objects.py::test_a_network_that_is_not_finite_is_not_kept",
        "E": NO_SUM,
        "F": NO_RESUME,
        "G": "engine/test_export.py::test_a_missing_package_is_named_with_its_extra",
    },
    "segedu.cli.serve.run": {
        "A": "serve/test_service.py::test_answers_are_those_of_predict",
        "B": "serve/test_service.py::test_hostile_requests_are_refused_and_the_service_lives",
        "C": "serve/test_service.py::test_answers_are_those_of_predict",
        "D": "serve/test_service.py::test_a_network_that_is_not_finite_is_refused",
        "E": NO_SUM,
        "F": NO_RESUME,
        "G": "serve/test_service.py::test_mistakes",
    },
    "segedu.cli.monitor.run": {
        "A": "monitor/test_monitor.py::test_what_was_changed_is_found",
        "B": "monitor/test_monitor.py::test_a_file_that_is_no_picture_is_left_out_and_said",
        "C": "monitor/test_monitor.py::test_the_numbers_are_those_of_the_picture",
        "D": "serve/test_service.py::test_a_network_that_is_not_finite_is_refused",
        "E": "monitor/test_monitor.py::test_the_numbers_are_those_of_the_picture",
        "F": NO_RESUME,
        "G": "monitor/test_monitor.py::test_mistakes",
    },
    "segedu.compress.prune_channels": {
        "A": "- takes tensors",
        "B": "compress/test_pruning.py::test_what_is_not_understood_stays",
        "C": "compress/test_pruning.py::test_what_is_added_or_used_twice_goes_together",
        "D": "- takes weights as they are",
        "E": "- adds up a filter's weights to rank it alone",
        "F": NO_RESUME,
        "G": "compress/test_pruning.py::test_bad_input",
    },
    "segedu.compress.quantize": {
        "A": "compress/test_quantization.py::test_mistakes",
        "B": "- takes every picture",
        "C": "compress/test_quantization.py::test_the_file_is_smaller_and_says_nearly_the_same",
        "D": "compress/test_quantization.py::test_a_network_that_is_not_finite_is_refused",
        "E": "compress/test_quantization.py::test_the_file_is_smaller_and_says_nearly_the_same",
        "F": NO_RESUME,
        "G": "compress/test_quantization.py::test_mistakes",
    },
    # training, judging, predicting
    "segedu.engine.fit": {
        "A": "test_tasks.py::test_a_loader_that_stacks_samples_is_named",
        "B": "- takes every sample of its loader",
        "C": "engine/test_fit.py::test_a_score_that_is_better_if_smaller_can_be_monitored",
        "D": "engine/test_fit.py::test_an_image_that_is_not_finite_is_named_at_its_first_batch",
        "E": "engine/test_fit.py::test_mixed_precision_on_the_cpu_stays_close",
        "F": "engine/test_fit.py::test_a_resume_with_other_settings_names_them",
        "G": "engine/test_fit.py::test_a_last_batch_of_one_is_found_before_the_training",
    },
    "segedu.engine.evaluate": {
        "A": "test_tasks.py::test_a_loader_that_stacks_samples_is_named",
        "B": "- takes every sample of its loader",
        "C": "test_tasks.py::test_the_truth_scores_one",
        "D": "engine/test_fit.py::test_an_image_that_is_not_finite_is_named_at_its_first_batch",
        "E": "engine/test_fit.py::test_evaluate_weighs_images_not_batches",
        "F": NO_RESUME,
        "G": "engine/test_fit.py::test_a_task_of_ones_own_needs_no_more_than_a_loss",
    },
    "segedu.engine.make_loader": {
        "A": "- passes on what the data set gives",
        "B": "engine/test_loader.py::test_processes_share_without_repeating",
        "C": "engine/test_loader.py::test_workers_change_nothing_even_when_they_live_on",
        "D": "engine/test_loader.py::test_a_sample_that_is_not_finite_is_named_by_its_file",
        "E": NO_SUM,
        "F": NO_RESUME,
        "G": "engine/test_loader.py::test_what_is_wrong_with_a_sample_is_said_in_its_own_words",
    },
    "segedu.engine.sliding_window": {
        "A": "engine/test_inference.py::test_half_precision_gives_probabilities",
        "B": "engine/test_inference.py::test_starts_cover_everything",
        "C": "engine/test_inference.py::test_windows_equal_the_whole_image",
        "D": "- shows what the network gives",
        "E": "engine/test_inference.py::test_half_precision_gives_probabilities",
        "F": NO_RESUME,
        "G": "engine/test_inference.py::test_bad_input",
    },
    "segedu.engine.predict_strips": {
        "A": "engine/test_inference.py::test_half_precision_gives_probabilities",
        "B": "engine/test_inference.py::test_strips_are_the_sliding_window_from_the_top_down",
        "C": "engine/test_inference.py::test_windows_equal_the_whole_image",
        "D": "- shows what the network gives",
        "E": "engine/test_inference.py::test_half_precision_gives_probabilities",
        "F": NO_RESUME,
        "G": "engine/test_inference.py::test_bad_input",
    },
    "segedu.engine.predict_tta": {
        "A": "engine/test_inference.py::test_one_channel_is_a_sigmoid",
        "B": "- takes every image",
        "C": "engine/test_inference.py::test_tta_averages_probabilities_of_aligned_views",
        "D": "- shows what the network gives",
        "E": "engine/test_inference.py::test_half_precision_views_give_probabilities",
        "F": NO_RESUME,
        "G": "engine/test_inference.py::test_bad_input",
    },
    "segedu.engine.load_checkpoint": {
        "A": "engine/test_checkpoint.py::test_files_of_others_are_refused",
        "B": ONE_FILE,
        "C": "engine/test_checkpoint.py::test_round_trip",
        "D": "engine/test_checkpoint.py::test_every_kind_of_damage_is_one_error",
        "E": NO_SUM,
        "F": NO_RESUME,
        "G": "engine/test_checkpoint.py::test_every_kind_of_damage_is_one_error",
    },
    "segedu.engine.load_model": {
        "A": "engine/test_checkpoint.py::test_a_checkpoint_of_an_unknown_network_is_refused",
        "B": "engine/test_checkpoint.py::test_other_shapes_and_names_are_one_line",
        "C": "engine/test_checkpoint.py::test_a_network_comes_back_without_being_described",
        "D": "- shows what the training left",
        "E": NO_SUM,
        "F": "engine/test_checkpoint.py::"
        "test_a_network_comes_back_without_the_file_of_its_first_weights",
        "G": "engine/test_checkpoint.py::test_other_shapes_and_names_are_one_line",
    },
    "segedu.tasks.as_panoptic": {
        "A": "test_tasks.py::test_samples_turn_into_the_other_kind_and_back",
        "B": "test_tasks.py::test_samples_turn_into_the_other_kind_and_back",
        "C": "test_tasks.py::test_samples_turn_into_the_other_kind_and_back",
        "D": "- numbers are whole",
        "E": NO_SUM,
        "F": NO_RESUME,
        "G": "test_tasks.py::test_samples_turn_into_the_other_kind_and_back",
    },
    "segedu.medical.evaluate.evaluate": {
        "A": "medical/test_fingerprint.py::test_a_scan_unlike_those_of_the_training_is_told",
        "B": "medical/test_evaluate.py::test_unknown_and_empty_subsets_are_refused",
        "C": "medical/test_evaluate.py::test_new_scans_are_judged_and_strange_ones_named",
        "D": "medical/test_scores.py::"
        "test_distances_that_do_not_exist_are_counted_and_not_averaged",
        "E": "- counts in whole numbers",
        "F": NO_RESUME,
        "G": "medical/test_evaluate.py::test_a_bad_label_is_found_before_anything_is_predicted",
    },
    "segedu.medical.evaluate.score": {
        "A": "medical/test_evaluate.py::test_masks_that_do_not_fit_are_refused",
        "B": "medical/test_evaluate.py::test_masks_that_do_not_fit_are_refused",
        "C": "medical/test_evaluate.py::test_two_folders_of_masks_are_compared",
        "D": "medical/test_evaluate.py::test_masks_that_do_not_fit_are_refused",
        "E": "- counts in whole numbers",
        "F": NO_RESUME,
        "G": "medical/test_evaluate.py::test_masks_that_do_not_fit_are_refused",
    },
    "segedu.medical.project.train": {
        "A": "medical/test_project.py::test_labels_must_fit_the_scan_and_the_classes",
        "B": "medical/test_project.py::"
        "test_a_folder_without_scans_and_a_scan_without_labels_are_named",
        "C": "medical/test_patients.py::test_no_patient_is_in_two_subsets",
        "D": "engine/test_loader.py::test_a_sample_that_is_not_finite_is_named_by_its_file",
        "E": "engine/test_inference.py::test_half_precision_gives_probabilities",
        "F": "medical/test_project.py::test_other_settings_and_other_scans_are_not_resumed",
        "G": "medical/test_config.py::test_bad_settings",
    },
}


@lru_cache
def names_in(path: Path) -> frozenset[str]:
    if not path.is_file():
        return frozenset()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize("entry", TABLE)
def test_every_cell_is_filled(entry):
    module, _, name = entry.rpartition(".")
    assert callable(getattr(importlib.import_module(module), name))
    assert sorted(TABLE[entry]) == list(KINDS)
    for kind, cell in TABLE[entry].items():
        if cell.startswith("- "):
            assert len(cell) > 8, f"{entry} {kind}: say why"
        else:
            file, _, test = cell.partition("::")
            assert test in names_in(TESTS / file), f"{entry} {kind}: no such test {cell}"


def test_every_loader_has_a_row():
    """Every public dataset class of ``segedu.data`` that reads files."""
    import pkgutil

    import segedu.data
    from segedu.data.naming import NamedDataset
    from segedu.data.views import View

    found = set()
    for info in pkgutil.iter_modules(segedu.data.__path__):
        module = importlib.import_module(f"segedu.data.{info.name}")
        for name, value in vars(module).items():
            own = getattr(value, "__module__", "") == module.__name__
            if not own or not isinstance(value, type) or issubclass(value, View):
                continue  # a view shows the samples of another data set
            if issubclass(value, NamedDataset):
                found.add(f"{module.__name__}.{name}")
    bases = {"naming.NamedDataset", "segments.SegmentDataset", "segments.ObjectDataset"}
    bases |= {"photos.PhotoDataset"}  # no files of their own
    assert found - {f"segedu.data.{name}" for name in bases} <= set(TABLE)


# ---------------------------------------------------------------------- one fault, every layout


def read(layout, root, **faults):
    tiny = write(layout, root, **faults)
    return open_dataset(layout, tiny.root, tiny.split, **tiny.options)


def object_mask(sample):
    """Where the one object lies, bool (H, W)."""
    if "mask" in sample:
        return sample["mask"].numpy() == 1
    if "masks" in sample:
        return sample["masks"].numpy()[0]
    return sample["panoptic_seg"].numpy() == 1


@pytest.mark.parametrize("layout", ON_DISK)
def test_16_bits_in_every_layout(layout, tmp_path):
    """A ramp of 16 bits looks as one of 8 bits does: its mean is 127.5, not 254."""
    sample = read(layout, tmp_path, deep=True)[0]
    assert sample["image"].shape == (3, HEIGHT, WIDTH)
    assert np.array_equal(sample["image"][0], picture())
    assert sample["image"].float().mean() == pytest.approx(127.5, abs=0.05)


@pytest.mark.parametrize(
    "layout, ending",
    [(layout, ".PNG") for layout in ON_DISK]
    + [(layout, ".Png") for layout in ON_DISK if layout not in NAMED_WITH_ENDING],
)
def test_endings_in_capitals_in_every_layout(layout, ending, tmp_path):
    """The sample is there, and nothing is left out."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = read(layout, tmp_path, ending=ending)
    assert len(data) == 1 and not data.skipped
    assert object_mask(data[0]).sum() == HEIGHT * WIDTH // 4


@pytest.mark.parametrize("layout", ON_DISK)
def test_exif_in_every_layout(layout, tmp_path):
    """Images are read as viewers show them; labels of the stored size are refused, and why."""
    sample = read(layout, tmp_path / "upright", orientation=6)[0]
    assert np.array_equal(sample["image"][0], picture())
    if layout != "cityscapes":
        assert np.array_equal(object_mask(sample), labels((HEIGHT, WIDTH)) == 1)
    if layout != "yolo":  # whose labels are shares of whatever size
        with pytest.raises(ValueError, match=r"is 4 x 6 .* is 6 x 4 .*EXIF"):
            read(layout, tmp_path / "lying", orientation=6, size=(WIDTH, HEIGHT))[0]


@pytest.mark.parametrize("layout", ON_DISK)
def test_large_images_in_every_layout(layout, tmp_path, monkeypatch):
    """More pixels than Pillow's limit are read where that is asked for, and so are their labels."""
    tiny = write(layout, tmp_path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", HEIGHT * WIDTH - 1)
    with pytest.raises(ValueError, match=f"too large.* pass max_pixels={HEIGHT * WIDTH}"):
        open_dataset(layout, tiny.root, tiny.split, **tiny.options)[0]
    data = open_dataset(layout, tiny.root, tiny.split, max_pixels=HEIGHT * WIDTH, **tiny.options)
    assert object_mask(data[0]).sum() == HEIGHT * WIDTH // 4
