import numpy as np
import pytest
import torch

from segedu.data.segments import (
    file_below,
    instance_sample,
    name_background,
    read_annotations,
)

IMAGE = torch.zeros(3, 4, 5, dtype=torch.uint8)


def test_instance_sample_of_masks_alone():
    masks = np.zeros((2, 4, 5), dtype=bool)
    masks[0, 1:3, 2:5], masks[1, 3, 0] = True, True
    sample = instance_sample(IMAGE, masks, [1, 2], 9)
    assert sample["boxes"].tolist() == [[2, 1, 5, 3], [0, 3, 1, 4]]  # one past the last pixel
    assert sample["boxes"].canvas_size == (4, 5)
    assert sample["area"].tolist() == [6, 1] and sample["iscrowd"].tolist() == [0, 0]


def test_background_gets_an_id_above_all():
    ids = np.array([[0, 7], [3, 0]], dtype=np.int32)
    assert name_background(ids) == 8
    assert ids.tolist() == [[8, 7], [3, 8]]


def test_json_must_be_an_object_of_lists(tmp_path):
    file = tmp_path / "a.json"
    for text in ("[]", "3", '{"images": {}}', "{}"):
        file.write_text(text)
        with pytest.raises(ValueError, match="a.json: must be an object .* no 'images'"):
            read_annotations(file, ("images",))
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="a.json: not a readable JSON"):
        read_annotations(file, ("images",))


def test_paths_stay_in_the_folder(tmp_path):
    assert file_below(tmp_path, "sub/a.png", tmp_path / "list") == tmp_path / "sub/a.png"
    for name in ("../a.png", "sub/../../a.png", "/etc/a.png"):
        with pytest.raises(ValueError, match="leads out of"):
            file_below(tmp_path, name, tmp_path / "list")
