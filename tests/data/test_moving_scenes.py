"""Scenes that move: exact masks, numbers that stay, flow that leads to the same thing."""

import numpy as np
import pytest
import torch

from segedu.data.scenes import CLASSES, SceneConfig, generate
from segedu.data.scenes.things import Thing
from segedu.data.scenes.video import NEAREST, generate_video, move
from segedu.metrics.video import follow

SMALL = SceneConfig(size=48)


@pytest.fixture(scope="module")
def video():
    return generate_video(3, SMALL, frames=4)


def test_first_frame_is_the_scene_of_the_seed(video):
    scene = generate(3, SMALL)
    assert np.array_equal(video.images[0], scene.image)
    assert np.array_equal(video.semantic[0], scene.semantic)
    assert np.array_equal(video.panoptic[0], scene.panoptic)


def test_same_seed_same_bytes_and_more_frames_go_on(video):
    longer = generate_video(3, SMALL, frames=5)
    assert np.array_equal(longer.images[:4], video.images)
    assert np.array_equal(longer.panoptic[:4], video.panoptic)


def test_maps_agree_in_every_frame(video):
    label = np.zeros(256, int)
    for number, category in video.categories.items():
        label[number] = category
    assert np.array_equal(label[video.panoptic], video.semantic)
    for number in video.kinds:
        assert CLASSES[video.categories[number]].isthing


def test_flow_leads_to_the_same_segment(video):
    ids = torch.from_numpy(video.panoptic)
    moved = follow(ids, torch.from_numpy(video.flow))
    seen = moved != 255
    assert seen.double().mean() > 0.8
    assert torch.equal(moved[seen], ids[:-1][seen].long())


def test_colours_follow_the_flow_better_than_they_stand_still(video):
    seen = np.isfinite(video.flow[..., 0])
    still = np.abs(video.images[1:].astype(int) - video.images[:-1])[seen].mean()
    time, y, x = np.nonzero(seen)
    step = video.flow[seen]
    x1, y1 = np.floor(x + 0.5 + step[:, 0]).astype(int), np.floor(y + 0.5 + step[:, 1]).astype(int)
    along = np.abs(video.images[time + 1, y1, x1].astype(int) - video.images[time, y, x]).mean()
    assert along < 0.8 * still


def test_only_the_noise_moves_at_speed_0():
    video = generate_video(3, SMALL, frames=2, speed=0)
    assert 0 < np.abs(video.images[0].astype(int) - video.images[1]).mean() < 5
    quiet = generate_video(3, SceneConfig(size=48, noise=0.0), frames=2, speed=0)
    assert np.array_equal(quiet.images[0], quiet.images[1])
    assert np.array_equal(video.panoptic[0], video.panoptic[1])
    assert np.nanmax(np.abs(video.flow)) < 1e-9


def test_who_moves_where():
    person = move(Thing(0, "person", x=1.0, z=8.0, facing=-1), 10)
    assert person.x == pytest.approx(-0.4) and person.z == 8.0
    assert move(Thing(0, "tree", 1.0, 8.0), 10) == Thing(0, "tree", 1.0, 8.0)
    oncoming = move(Thing(0, "car", 1.0, 8.0, heading=-np.pi / 2), 100)
    assert oncoming.z == NEAREST and oncoming.x == pytest.approx(1.0)


@pytest.mark.parametrize("wrong", [{"frames": 0}, {"speed": -1}, {"speed": float("nan")}])
def test_bad_input(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        generate_video(0, SMALL, **wrong)
