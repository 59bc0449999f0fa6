import pytest
import torch
import torch.nn.functional as F

from segedu.models.mask_classification import Prediction
from segedu.models.mask_inference import panoptic_inference
from segedu.models.maskformer import MaskFormer, from_hugging_face
from tests.models.mask_scenes import decided, small, two_images, two_targets


def test_parameters_are_the_references():
    with torch.device("meta"):
        model = MaskFormer(150)
    assert sum(p.numel() for p in model.parameters()) == 41_307_863


@pytest.mark.parametrize("task", ["semantic", "instance", "panoptic"])
@torch.no_grad()
def test_results_have_the_size_of_each_image(task):
    model = small(MaskFormer, task=task).eval()
    for image, result in zip(two_images(), model(two_images()), strict=True):
        size = image.shape[1:]
        if task == "semantic":
            assert result["scores"].shape == (4, *size)
        elif task == "instance":
            count = len(result["labels"])
            assert result["masks"].shape == (count, *size)
            assert result["boxes"].shape == (count, 4)
            assert (result["scores"].diff() <= 0).all()
        else:
            assert result["panoptic_seg"].shape == size
            assert result["panoptic_seg"].dtype == torch.int32


def test_more_objects_than_queries_use_all_queries():
    model = small(MaskFormer, num_queries=2).train()
    target = {"masks": torch.eye(3)[:, :, None].repeat(1, 1, 3), "labels": torch.tensor([0, 1, 2])}
    losses = model([torch.rand(3, 3, 3)] * 2, [target] * 2)
    assert all(value.isfinite() for value in losses.values())


def test_the_same_seed_gives_the_same_training():
    def train() -> list[torch.Tensor]:
        model = small(MaskFormer)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        for _ in range(2):
            optimizer.zero_grad()
            sum(model.train()(two_images(), two_targets()).values()).backward()
            optimizer.step()
        return list(model.parameters())

    assert all(torch.equal(a, b) for a, b in zip(train(), train(), strict=True))


def test_bad_images_and_a_wrong_number_of_targets_are_refused():
    model = small(MaskFormer)
    with pytest.raises(TypeError, match=r"images\[0\] must be a float tensor.*got torch.uint8"):
        model([torch.zeros(3, 4, 4, dtype=torch.uint8)])
    with pytest.raises(ValueError, match=r"images\[0\] must be \(3, H, W\), got \(1, 4, 4\)"):
        model([torch.zeros(1, 4, 4)])
    with pytest.raises(ValueError, match="images must not be empty"):
        model([])
    for targets in (None, two_targets()[:1]):
        with pytest.raises(ValueError, match="targets"):
            model.train()(two_images(), targets)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"task": "depth"}, "task must be one of .*, got 'depth'"),
        ({"things": {4}}, r"things must be in 0, ..., 3, got \[4\]"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        small(MaskFormer, **settings)


def test_masks_of_unsure_queries_change_nothing(monkeypatch):
    everywhere = (0, 0, 16, 16)
    classes, masks = decided(
        [0, 1, 4, 2], [(0, 0, 16, 4), (2, 5, 9, 8), everywhere, everywhere], size=(16, 16)
    )
    classes[3] = 0  # unsure
    model, image = small(MaskFormer).eval(), two_images()[1]  # 50 x 33 pixels, padded to 64 x 64
    prediction = Prediction(classes[None], masks[None])
    monkeypatch.setattr(model, "predict", lambda batch, only_last: [prediction])
    (result,) = model([image])
    full = F.interpolate(masks[None], (64, 64), mode="bilinear")[0, :, :50, :33]
    everything = panoptic_inference(classes, full)
    assert torch.equal(result["panoptic_seg"], everything["panoptic_seg"])
    assert result["segments_info"] == everything["segments_info"]
    assert [segment["category_id"] for segment in result["segments_info"]] == [0, 1]


def test_published_names_become_ours():
    decoder = "model.transformer_module.decoder.layers.3."
    published = {
        decoder + "encoder_attn.out_proj.weight": (
            "transformer.layers.3.cross_attention.out.weight"
        ),
        decoder + "fc2.bias": "transformer.layers.3.ffn.2.bias",
        decoder + "self_attn_layer_norm.weight": "transformer.layers.3.self_norm.weight",
    }
    for name, ours in published.items():
        assert list(from_hugging_face({name: torch.zeros(1)})) == [ours]
