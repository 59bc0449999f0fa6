"""MaskFormer, Mask2Former and SAM against transformers, run live on tiny configurations.

The reference is filled with closed-form values, its state dict goes into ours by the table of names
of each file, and outputs, matches, losses, gradients and results are compared. transformers takes
seconds to import: each process collects these tests, one runs them.
"""

import pytest
import torch

from segedu.models import mask2former, maskformer, sam
from segedu.models.mask_classification import (
    Prediction,
    Segments,
    deep_losses,
    instance_inference,
    match,
    panoptic_inference,
    semantic_inference,
)
from tests.parity.closed_form import difference, fill, images

pytestmark = pytest.mark.oracle

CLASSES = 5
RESNET = {"depths": [1, 1, 1, 1], "embedding_size": 8, "hidden_sizes": [32, 64, 128, 256]}
OUR_RESNET = {"base_width": 8, "layers": (1, 1, 1, 1)}


def backbone():
    from transformers import ResNetConfig

    return ResNetConfig(**RESNET, out_features=["stage1", "stage2", "stage3", "stage4"])


def segments() -> list[Segments]:
    """Three segments in the first image, two in the second, as wide as `images`."""
    rows, columns = torch.arange(96)[:, None], torch.arange(128)
    first = [(rows < 40) & (columns < 60), (rows >= 40) & (columns > 20), (rows + columns) % 9 < 3]
    second = [rows > columns, (rows < 30) & (columns >= 90)]
    labels = [torch.tensor([0, 3, 1]), torch.tensor([4, 3])]
    masks = [torch.stack([m.expand(96, 128) for m in ms]).float() for ms in (first, second)]
    return [Segments(*pair) for pair in zip(labels, masks, strict=True)]


def theirs_of(wanted: list[Segments]) -> dict[str, list[torch.Tensor]]:
    return {"mask_labels": [s.masks for s in wanted], "class_labels": [s.labels for s in wanted]}


def logits_of(predictions: list[Prediction]) -> list[dict[str, torch.Tensor]]:
    return [
        {"class_queries_logits": p.class_logits, "masks_queries_logits": p.mask_logits}
        for p in predictions
    ]


def filled(reference: torch.nn.Module) -> torch.nn.Module:
    """Filled, but for the weights of the classes in the loss."""
    weight = reference.criterion.empty_weight
    expected = weight.clone()
    fill(reference)
    weight.copy_(expected)
    return reference


@pytest.fixture(scope="module")
def maskformers():
    from transformers import (
        MaskFormerConfig,
        MaskFormerDetrConfig,
        MaskFormerForInstanceSegmentation,
    )

    settings = {"encoder_attention_heads": 4, "decoder_attention_heads": 4, "num_queries": 7}
    decoder = MaskFormerDetrConfig(
        d_model=64, decoder_layers=2, decoder_ffn_dim=96, dropout=0.0, **settings
    )
    config = MaskFormerConfig(
        backbone_config=backbone(),
        decoder_config=decoder,
        fpn_feature_size=64,
        mask_feature_size=64,
        num_labels=CLASSES,
    )
    reference = filled(MaskFormerForInstanceSegmentation(config))
    model = maskformer.MaskFormer(
        CLASSES,
        **OUR_RESNET,
        width=64,
        heads=4,
        ffn_width=96,
        num_queries=7,
        num_layers=2,
        dropout=0.0,
    ).eval()
    model.load_state_dict(maskformer.from_hugging_face(reference.state_dict()))
    return model, reference


@pytest.fixture(scope="module")
def mask2formers():
    from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation

    config = Mask2FormerConfig(
        backbone_config=backbone(),
        feature_size=64,
        mask_feature_size=64,
        hidden_dim=64,
        encoder_feedforward_dim=80,
        encoder_layers=2,
        decoder_layers=5,
        num_attention_heads=4,
        dim_feedforward=96,
        num_queries=7,
        train_num_points=200,
        num_labels=CLASSES,
    )
    reference = filled(Mask2FormerForUniversalSegmentation(config))
    model = mask2former.Mask2Former(
        CLASSES,
        **OUR_RESNET,
        width=64,
        heads=4,
        encoder_ffn_width=80,
        encoder_layers=2,
        ffn_width=96,
        num_queries=7,
        num_layers=4,
        num_points=200,
    ).eval()
    model.load_state_dict(mask2former.from_hugging_face(reference.state_dict()))
    return model, reference


@pytest.fixture(params=["maskformers", "mask2formers"])
def pair(request):
    """Ours and the reference, of MaskFormer and of Mask2Former."""
    return request.getfixturevalue(request.param)


@torch.no_grad()
def test_outputs(pair):
    model, reference = pair
    x = images((2, 3, 96, 128))
    theirs, ours = reference(pixel_values=x), model.predict(x)[-1]
    assert difference(ours.class_logits, theirs.class_queries_logits) < 1e-5
    assert difference(ours.mask_logits, theirs.masks_queries_logits) < 1e-5


@torch.no_grad()
def test_mask2former_outputs_of_every_layer(mask2formers):
    model, reference = mask2formers
    x = images((2, 3, 96, 128))
    theirs = reference(pixel_values=x, output_auxiliary_logits=True).auxiliary_logits
    ours = model.predict(x)[:-1]
    assert len(ours) == len(theirs) == 4
    for a, b in zip(ours, theirs, strict=True):
        assert difference(a.class_logits, b["class_queries_logits"]) < 1e-5
        assert difference(a.mask_logits, b["masks_queries_logits"]) < 1e-5


@torch.no_grad()
def test_matches(pair):
    model, reference = pair
    prediction = model.predict(images((2, 3, 96, 128)))[-1]
    wanted = segments()
    torch.manual_seed(0)  # both draw the same points, if they draw any
    theirs = reference.criterion.matcher(
        prediction.mask_logits, prediction.class_logits, *theirs_of(wanted).values()
    )
    torch.manual_seed(0)
    for i, (queries, places) in enumerate(theirs):
        ours = match(
            model.criterion, prediction.class_logits[i], prediction.mask_logits[i], wanted[i]
        )
        assert torch.equal(ours[0], queries)
        assert torch.equal(ours[1], places)


def test_losses_of_every_layer_and_their_gradient(pair):
    model, reference = pair
    x, wanted = images((2, 3, 96, 128)), segments()
    predictions = model.predict(x)
    torch.manual_seed(0)
    ours = deep_losses(model.criterion, predictions, wanted)
    torch.manual_seed(0)
    theirs = reference.get_loss_dict(
        *(predictions[-1].mask_logits, predictions[-1].class_logits),
        *theirs_of(wanted).values(),
        logits_of(predictions[:-1]),
    )
    names = {"class": "cross_entropy", "mask": "mask", "dice": "dice"}
    assert len(ours) == len(theirs)
    for name, value in ours.items():
        kind = name.split("_")[1]
        other = theirs[name.replace(kind, names[kind], 1)]
        assert value.item() == pytest.approx(other.item(), rel=1e-5)
    queries = model.transformer.queries.weight
    gradients = [
        torch.autograd.grad(sum(losses.values()), queries, retain_graph=True)[0]
        for losses in (ours, theirs)
    ]
    assert difference(*gradients) < 1e-4


def decided(labels: list[int], scores: list[float]) -> torch.Tensor:
    """Class logits (Q, C + 1) of queries that give their label this probability."""
    rest = (1 - torch.tensor(scores)) / CLASSES
    probability = rest[:, None].repeat(1, CLASSES + 1)
    probability[torch.arange(len(labels)), labels] = torch.tensor(scores)
    return probability.log()


def output(classes: torch.Tensor, masks: torch.Tensor):
    from transformers.models.maskformer.modeling_maskformer import (
        MaskFormerForInstanceSegmentationOutput,
    )

    return MaskFormerForInstanceSegmentationOutput(
        class_queries_logits=classes[None], masks_queries_logits=masks[None]
    )


def stripes() -> torch.Tensor:
    """Mask logits (6, 24, 32) of four vertical stripes, a mask hidden by them, and an empty one."""
    masks = torch.full((6, 24, 32), -4.0)
    for i in range(4):
        masks[i, :, 8 * i : 8 * i + 8] = 4.0
    masks[4, :, :16] = 2.0
    return masks + 0.5 * images((6, 24, 32))


def test_semantic_result_equals_transformers():
    from transformers import MaskFormerImageProcessor

    classes, masks = 2 * images((6, CLASSES + 1)), 3 * images((6, 24, 32))
    processor = MaskFormerImageProcessor()
    theirs = processor.post_process_semantic_segmentation(
        output(classes, masks), return_segmentation_scores=True
    )[0]
    ours = semantic_inference(classes, masks)
    assert difference(ours, theirs.segmentation_scores) < 1e-6
    assert torch.equal(ours.argmax(0), theirs.segmentation)


def test_instance_result_equals_transformers():
    from transformers import MaskFormerImageProcessor

    classes, masks = 2 * images((6, CLASSES + 1)), 3 * images((6, 24, 32))
    theirs = MaskFormerImageProcessor().post_process_instance_segmentation(
        output(classes, masks), threshold=0.0, return_binary_maps=True
    )[0]
    ours = instance_inference(classes, masks, max_objects=6)
    scores = torch.tensor([s["score"] for s in theirs["segments_info"]])
    order = scores.argsort(descending=True)
    assert torch.allclose(ours["scores"], scores[order], atol=1e-6)
    labels = torch.tensor([s["label_id"] for s in theirs["segments_info"]])
    assert torch.equal(ours["labels"], labels[order])
    assert torch.equal(ours["masks"], theirs["segmentation"][order] > 0)


def test_panoptic_result_equals_transformers():
    # the last stripe joins the first: transformers would number a segment after it wrongly
    from transformers import MaskFormerImageProcessor

    classes, masks = decided([0, 3, 4, 0, 1, 5], [0.98, 0.97, 0.96, 0.95, 0.9, 0.99]), stripes()
    theirs = MaskFormerImageProcessor().post_process_panoptic_segmentation(
        output(classes, masks), threshold=0.8, label_ids_to_fuse={0, 1}
    )[0]
    ours = panoptic_inference(classes, masks, things={2, 3, 4})
    assert torch.equal(ours["panoptic_seg"], theirs["segmentation"])
    assert [s["category_id"] for s in ours["segments_info"]] == [0, 3, 4]
    assert [s["label_id"] for s in theirs["segments_info"]] == [0, 3, 4, 0]


def test_segments_after_merged_stuff_have_ids_of_their_own_unlike_in_transformers():
    from transformers import MaskFormerImageProcessor

    classes, masks = decided([0, 3, 0, 4, 1, 5], [0.98, 0.97, 0.96, 0.95, 0.9, 0.99]), stripes()
    theirs = MaskFormerImageProcessor().post_process_panoptic_segmentation(
        output(classes, masks), threshold=0.8, label_ids_to_fuse={0, 1}
    )[0]
    assert [(s["id"], s["label_id"]) for s in theirs["segments_info"]] == [
        *((1, 0), (2, 3), (1, 0)),
        (2, 4),  # the id of class 3 again
    ]
    ours = panoptic_inference(classes, masks, things={2, 3, 4})["segments_info"]
    assert [(s["id"], s["category_id"]) for s in ours] == [(1, 0), (2, 3), (3, 4)]


@pytest.fixture(scope="module")
def sams():
    from transformers import SamConfig, SamModel

    config = SamConfig(
        vision_config={
            "hidden_size": 48,
            "output_channels": 32,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "image_size": 64,
            "patch_size": 8,
            "window_size": 3,  # windows that reach beyond the map of 8 x 8
            "global_attn_indexes": [1],
            "num_pos_feats": 16,
        },
        prompt_encoder_config={"hidden_size": 32, "image_size": 64, "patch_size": 8},
        mask_decoder_config={
            "hidden_size": 32,
            "mlp_dim": 40,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 32,
            "layer_norm_eps": 1e-5,  # of the authors' code; transformers has 1e-6
        },
    )
    reference = fill(SamModel(config))
    model = sam.SAM(
        image_size=64,
        patch_size=8,
        layers=3,
        width=48,
        heads=2,
        window_size=3,
        global_layers=(1,),
        embed_width=32,
        decoder_heads=2,
        decoder_ffn_width=40,
    ).eval()
    model.load_state_dict(sam.from_hugging_face(reference.state_dict()))
    return model, reference


@torch.no_grad()
def test_sam_image_embeddings(sams):
    model, reference = sams
    x = images((2, 3, 64, 64))
    assert difference(model.image_encoder(x), reference.get_image_embeddings(x)) < 1e-5


def prompts(kind: str) -> dict[str, torch.Tensor]:
    count = 1 if "masks" in kind else 2  # transformers has one mask prompt for an image
    points = 32 + 30 * images((2, count, 3, 2))
    labels = torch.tensor([[1, 0, -1], [0, 1, 1]]).expand(2, -1, -1)[:, :count]
    boxes = 16 + 15 * images((2, count, 4)) + torch.tensor([0.0, 0, 32, 32])
    given = {}
    if "points" in kind:
        given |= {"points": points, "labels": labels}
    if "boxes" in kind:
        given |= {"boxes": boxes}
    if "masks" in kind:
        given |= {"masks": 4 * images((2, 1, 32, 32))}
    return given


@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize("kind", ["points", "boxes", "points boxes", "masks", "points masks boxes"])
@torch.no_grad()
def test_sam_answers_every_prompt_as_transformers(sams, kind, multimask):
    model, reference = sams
    embeddings, given = images((2, 32, 8, 8)), prompts(kind)
    theirs = reference(
        image_embeddings=embeddings,
        input_points=given.get("points"),
        input_labels=given.get("labels"),
        input_boxes=given.get("boxes"),
        input_masks=given.get("masks"),
        multimask_output=multimask,
    )
    ours = model.segment(embeddings, (64, 64), **given, multimask=multimask)
    assert difference(ours.low_res, theirs.pred_masks) < 1e-5
    assert difference(ours.iou, theirs.iou_scores) < 1e-5
