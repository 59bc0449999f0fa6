"""Scenes as points: what the pinhole camera says, and nothing where nothing is known."""

import numpy as np
import pytest

from segedu.data.scenes import SceneConfig, generate
from segedu.data.scenes.layout import Layout
from segedu.data.scenes.points import GROUND, LABELS, distances, point_cloud

SMALL = SceneConfig(size=48)


def test_ground_lies_on_the_ground_and_projects_to_its_pixel():
    cloud = point_cloud(3, SMALL, number=300)
    assert np.abs(cloud.points[cloud.labels == 0, 1]).max() < 1e-3
    camera = Layout(3, SMALL).canvas.camera
    for point, (row, column) in zip(cloud.points[::20], cloud.pixels[::20], strict=True):
        x, y = camera.project(*point.tolist())
        assert (x * 48, y * 48) == pytest.approx((column + 0.5, row + 0.5), abs=1e-3)


def test_a_thing_is_flat_and_the_sky_has_no_distance():
    scene, depth = generate(3, SMALL), distances(3, SMALL)
    assert np.isnan(depth[scene.semantic == 0]).all()
    things = Layout(3, SMALL).things()
    for segment in scene.segments_info:
        there = depth[scene.panoptic == segment["id"]]
        if segment["isthing"]:
            assert np.unique(there).tolist() == [np.float32(things[segment["id"] - 17].z)]
        elif segment["category_id"] not in GROUND:
            assert np.isnan(there).all()


def test_labels_and_colours_are_those_of_the_pixels():
    scene, cloud = generate(3, SMALL), point_cloud(3, SMALL, number=300)
    rows, columns = cloud.pixels.T
    assert np.array_equal(cloud.colors, scene.image[rows, columns])
    names = np.array(["ground"] * 7 + [name for name, _ in LABELS[1:]])
    assert names[scene.semantic[rows, columns]].tolist() == [LABELS[i][0] for i in cloud.labels]
    assert np.array_equal(point_cloud(3, SMALL, number=300).points, cloud.points)


@pytest.mark.parametrize("number", [0, 48 * 48 + 1])
def test_bad_number(number):
    with pytest.raises(ValueError, match="number must be within"):
        point_cloud(3, SMALL, number=number)
