"""Ours against reference packages, run live: torchvision's state dict goes into ours unrenamed.

The others take seconds to import: each process collects these tests, one runs them.
"""

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torchvision.models import segmentation
from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork, LastLevelMaxPool

from segedu.models import get_model
from segedu.models.attention import CBAM, SqueezeExcitation
from segedu.models.backbones import ViTFeatures
from segedu.models.deeplab import ASPP
from segedu.models.fpn import FeaturePyramid, SemanticBranch
from segedu.models.segformer import SegFormer, from_hugging_face
from tests.parity.closed_form import blank, difference, fill, images

pytestmark = pytest.mark.oracle


TORCHVISION = {
    "fcn_resnet50": "fcn_resnet50",
    "deeplab_v3_resnet50": "deeplabv3_resnet50",
    "deeplab_v3_resnet101": "deeplabv3_resnet101",
    "deeplab_v3_mobilenet_v3": "deeplabv3_mobilenet_v3_large",
}


@pytest.mark.parametrize("name", TORCHVISION)
@torch.no_grad()
def test_equals_torchvision(name):
    settings = {"weights": None, "weights_backbone": None, "num_classes": 5, "aux_loss": True}
    reference = fill(blank(getattr(segmentation, TORCHVISION[name]), **settings))
    model = blank(get_model, name, 5, aux_loss=True).eval()
    model.load_state_dict(reference.state_dict())
    x = images((1, 3, 65, 97))
    assert difference(model(x), reference(x)["out"]) < 1e-6
    middle = model.backbone(x)[-2]
    assert difference(model.aux_classifier(middle), reference.aux_classifier(middle)) == 0


@torch.no_grad()
def test_lraspp_equals_torchvision():
    build = segmentation.lraspp_mobilenet_v3_large
    reference = fill(blank(build, weights=None, weights_backbone=None, num_classes=5))
    model = blank(get_model, "lraspp_mobilenet_v3", 5).eval()
    model.load_state_dict(reference.state_dict())
    x = images((1, 3, 65, 97))
    assert difference(model(x), reference(x)["out"]) < 1e-6


@torch.no_grad()
def test_separable_aspp_equals_smp():
    from segmentation_models_pytorch.decoders.deeplabv3.decoder import ASPP as SmpASPP

    reference = fill(SmpASPP(32, 16, (6, 12, 18), separable=True, dropout=0.1))
    model = fill(ASPP(32, (6, 12, 18), 16, separable=True, dropout=0.1))
    x = images((2, 32, 24, 30))
    assert difference(model(x), reference(x)) < 1e-6


@torch.no_grad()
def test_dense_unet_equals_smp():
    import segmentation_models_pytorch as smp

    reference = fill(smp.Unet("densenet121", encoder_weights=None, classes=5))
    model = fill(blank(get_model, "dense_unet121", 5))  # the same layers in the same order
    x = images((1, 3, 64, 96))
    assert difference(model(x), reference(x)) < 1e-6


@torch.no_grad()
def test_feature_pyramid_equals_torchvision():
    reference = fill(FeaturePyramidNetwork([8, 16, 32], 12, extra_blocks=LastLevelMaxPool()))
    model = FeaturePyramid([8, 16, 32], 12, extra_level=True)
    model.load_state_dict(reference.state_dict())
    maps = [images((2, 8 * 2**i, 37 // 2**i, 50 // 2**i)) for i in range(3)]
    expected = reference({str(i): x for i, x in enumerate(maps)})
    for ours, theirs in zip(model(maps), expected.values(), strict=True):
        assert torch.equal(ours, theirs)


@torch.no_grad()
def test_semantic_branch_equals_smp(monkeypatch):
    # smp aligns the corners, the authors' code does not: make it interpolate as they do
    from segmentation_models_pytorch.decoders.fpn.decoder import SegmentationBlock

    interpolate = F.interpolate
    monkeypatch.setattr(
        F, "interpolate", lambda x, **how: interpolate(x, **how | {"align_corners": False})
    )
    reference = [fill(SegmentationBlock(24, 128, n_upsamples=n)) for n in range(4)]
    model = SemanticBranch(24, 128)
    for ours, theirs in zip(model.levels, reference, strict=True):
        ours.load_state_dict(
            dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True))
        )
    levels = [images((1, 24, 32 // 2**i, 48 // 2**i)) for i in range(4)]
    expected = sum(block(x) for block, x in zip(reference, levels, strict=True))
    monkeypatch.undo()
    assert difference(model(levels), expected) < 1e-6


@torch.no_grad()
def test_squeeze_excitation_equals_torchvision():
    reference = fill(torchvision.ops.SqueezeExcitation(32, 2))
    model = SqueezeExcitation(32)
    model.load_state_dict(reference.state_dict())
    assert difference(model(images((2, 32, 7, 9))), reference(images((2, 32, 7, 9)))) < 1e-6


@torch.no_grad()
def test_cbam_equals_timm():
    from timm.layers.cbam import CbamModule

    x = images((2, 32, 7, 9))
    assert difference(fill(CBAM(32))(x), fill(CbamModule(32))(x)) < 1e-6


def hugging_face_segformer():
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    config = SegformerConfig(num_labels=5)
    return fill(SegformerForSemanticSegmentation(config))


@torch.no_grad()
def test_segformer_equals_hugging_face():
    reference = hugging_face_segformer()
    model = blank(get_model, "segformer_b0", 5).eval()
    model.load_state_dict(from_hugging_face(reference.state_dict()))
    x = images((1, 3, 64, 97))
    expected = F.interpolate(reference(pixel_values=x).logits, x.shape[-2:], mode="bilinear")
    assert difference(model(x), expected) < 1e-5


def test_segformer_reads_a_file_of_hugging_face(tmp_path):
    reference = hugging_face_segformer()
    torch.save(reference.state_dict(), tmp_path / "pytorch_model.bin")
    model = SegFormer(5, weights=tmp_path / "pytorch_model.bin")
    assert torch.equal(model.classifier.weight, reference.decode_head.classifier.weight)


@pytest.mark.parametrize(("variant", "depths"), [(3, [3, 4, 18, 3]), (4, [3, 8, 27, 3])])
def test_segformer_b3_and_b4_have_the_tensors_of_hugging_face(variant, depths):
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    widths = {"hidden_sizes": [64, 128, 320, 512], "decoder_hidden_size": 768}
    with torch.device("meta"):
        config = SegformerConfig(num_labels=5, depths=depths, **widths)
        reference = SegformerForSemanticSegmentation(config).state_dict()
        model = get_model(f"segformer_b{variant}", 5).state_dict()
    renamed = from_hugging_face(reference)
    assert {k: v.shape for k, v in renamed.items()} == {k: v.shape for k, v in model.items()}


@torch.no_grad()
def test_vit_equals_torchvision():
    reference = fill(torchvision.models.VisionTransformer(32, 8, 3, 2, 16, 64))
    model = ViTFeatures(3, 16, 2, taps=(0, 2), image_size=32, patch_size=8).eval()
    state = reference.state_dict()
    model.load_state_dict({name: state[name] for name in model.state_dict()})
    x = images((2, 3, 32, 32))
    last = []
    hook = reference.encoder.layers.register_forward_hook(lambda *args: last.append(args[-1]))
    reference(x)
    hook.remove()
    expected = last[0][:, 1:].transpose(1, 2).unflatten(2, (4, 4))
    assert difference(model(x)[-1], expected) < 1e-6
