"""Names in transformers' state dicts and ours, for MaskFormer, Mask2Former and SAM.

In a table theirs stand on the left, those of published files (transformers 4) and of the module in
memory (transformers 5), and ours on the right; the rows are applied in their order.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from segedu.models.backbones import rename

RESNET_NAMES = (
    (r"^backbone\.embedder\.embedder\.convolution\.", "backbone.conv1."),
    (r"^backbone\.embedder\.embedder\.normalization\.", "backbone.bn1."),
    *((rf"\.encoder\.stages\.{i}\.layers\.", f".layer{i + 1}.") for i in range(4)),
    (r"\.shortcut\.convolution\.", ".downsample.0."),
    (r"\.shortcut\.normalization\.", ".downsample.1."),
    *((rf"\.layer\.{i}\.convolution\.", f".conv{i + 1}.") for i in range(3)),
    *((rf"\.layer\.{i}\.normalization\.", f".bn{i + 1}.") for i in range(3)),
)
DECODER_NAMES = (
    (r"\.self_attn\.", ".self_attention."),
    (r"\.self_attn_layer_norm\.", ".self_norm."),
    (r"\.(encoder_attn|cross_attn)\.", ".cross_attention."),
    (r"\.(encoder_attn|cross_attn)_layer_norm\.", ".cross_norm."),
    (r"\.(mlp\.)?fc1\.", ".ffn.0."),
    (r"\.(mlp\.)?fc2\.", ".ffn.2."),
    (r"\.final_layer_norm\.", ".ffn_norm."),
    (r"\.q_proj\.", ".query."),
    (r"\.k_proj\.", ".key."),
    (r"\.v_proj\.", ".value."),
    (r"\.(o_proj|out_proj)\.", ".out."),
)
MASKFORMER_NAMES = (
    (r"^model\.pixel_level_module\.encoder\.", "backbone."),
    *RESNET_NAMES,
    (r"^model\.pixel_level_module\.decoder\.(fpn\.)?", "pixel_decoder."),
    (r"^pixel_decoder\.layers\.(\d)\.proj\.", r"pixel_decoder.lateral.\1."),
    (r"^pixel_decoder\.layers\.(\d)\.block\.", r"pixel_decoder.merge.\1."),
    (r"^pixel_decoder\.mask_projection\.", "pixel_decoder.embed."),
    (r"^model\.transformer_module\.(decoder\.)?", "transformer."),
    (r"\.queries_embedder\.", ".queries."),
    (r"\.input_projection\.", ".project."),
    (r"\.layernorm\.", ".norm."),
    *DECODER_NAMES,
    (r"^class_predictor\.", "classify."),
    *((rf"^mask_embedder\.{i}\.0\.", f"embed_mask.{2 * i}.") for i in range(3)),
)


def rename_maskformer(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename a ``MaskFormerForInstanceSegmentation`` state dict (ResNet) for ours."""
    state = {name: value for name, value in state.items() if not name.startswith("criterion.")}
    return rename(state, MASKFORMER_NAMES)


MASK2FORMER_NAMES = (
    (r"^model\.pixel_level_module\.encoder\.", "backbone."),
    *RESNET_NAMES,
    (r"^model\.pixel_level_module\.decoder\.(encoder\.)?", "pixel_decoder."),
    (r"\.input_projections\.", ".project."),
    (r"\.level_embed$", ".level_codes"),
    (r"\.adapter_1\.", ".lateral."),
    (r"\.layer_1\.", ".merge."),
    (r"\.mask_projection\.", ".embed."),
    (r"\.sampling_offsets\.", ".offset."),
    (r"\.attention_weights\.", ".weight."),
    (r"\.value_proj\.", ".value."),
    (r"\.output_proj\.", ".out."),
    (r"^model\.transformer_module\.(decoder\.)?", "transformer."),
    (r"\.queries_embedder\.", ".queries."),
    (r"\.queries_features\.", ".contents."),
    (r"\.level_embed\.", ".level_codes."),
    (r"\.layernorm\.", ".norm."),
    *DECODER_NAMES,
    (r"^class_predictor\.", "transformer.classify."),
    *((rf"\.mask_predictor\.mask_embedder\.{i}\.0\.", f".embed_mask.{2 * i}.") for i in range(3)),
)


def rename_mask2former(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename a ``Mask2FormerForUniversalSegmentation`` state dict (ResNet) for ours.

    PyTorch's attention keeps queries, keys and values in one matrix, which is cut in three.
    """
    separate = {}
    for name, value in state.items():
        if ".in_proj_" in name:
            for part, own in zip("qkv", value.chunk(3), strict=True):
                separate[name.replace("in_proj_", f"{part}_proj.")] = own
        elif not name.startswith("criterion."):
            separate[name] = value
    return rename(separate, MASK2FORMER_NAMES)


SAM_NAMES = (
    (r"^vision_encoder\.", "image_encoder."),
    (r"\.patch_embed\.projection\.", ".embed."),
    (r"\.pos_embed$", ".position"),
    (r"\.neck\.conv([12])\.", lambda m: f".neck.{2 * int(m[1]) - 2}."),
    (r"\.neck\.layer_norm([12])\.", lambda m: f".neck.{2 * int(m[1]) - 1}."),
    (r"\.attn\.proj\.", ".attention.out."),
    (r"\.attn\.rel_pos_h$", ".attention.rows"),
    (r"\.attn\.rel_pos_w$", ".attention.columns"),
    (r"\.attn\.", ".attention."),
    (r"\.mlp\.lin1\.", ".mlp.0."),
    (r"\.mlp\.lin2\.", ".mlp.2."),
    (r"^shared_image_embedding\.positional_embedding$", "prompt_encoder.code.frequencies"),
    (r"\.not_a_point_embed\.", ".no_point."),
    (r"\.no_mask_embed\.", ".no_mask."),
    (r"\.mask_embed\.conv([123])\.", lambda m: f".embed_mask.{3 * int(m[1]) - 3}."),
    (r"\.mask_embed\.layer_norm([12])\.", lambda m: f".embed_mask.{3 * int(m[1]) - 2}."),
    (r"^mask_decoder\.transformer\.", "mask_decoder."),
    (r"\.self_attn\.", ".self_attention."),
    (r"\.cross_attn_token_to_image\.", ".token_to_image."),
    (r"\.cross_attn_image_to_token\.", ".image_to_token."),
    (r"\.final_attn_token_to_image\.", ".last_attention."),
    (r"\.layer_norm_final_attn\.", ".last_norm."),
    (r"\.layer_norm([1234])\.", r".norm\1."),
    (r"\.q_proj\.", ".query."),
    (r"\.k_proj\.", ".key."),
    (r"\.v_proj\.", ".value."),
    (r"\.out_proj\.", ".out."),
    (r"\.upscale_conv1\.", ".upscale.0."),
    (r"\.upscale_layer_norm\.", ".upscale.1."),
    (r"\.upscale_conv2\.", ".upscale.3."),
    (r"\.output_hypernetworks_mlps\.", ".hypernetworks."),
    (r"\.iou_prediction_head\.", ".iou_head."),
    (r"\.proj_in\.", ".0."),
    (r"\.(hypernetworks\.\d|iou_head)\.layers\.0\.", r".\1.2."),
    (r"\.proj_out\.", ".4."),
)


def rename_sam(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename a ``SamModel`` state dict for ours.

    The four kinds of prompts are one table here; the frequencies, which are there twice, are kept
    once.
    """
    kinds = [state[f"prompt_encoder.point_embed.{i}.weight"] for i in range(4)]
    dropped = ("prompt_encoder.point_embed.", "prompt_encoder.shared_embedding.")
    kept = {name: value for name, value in state.items() if not name.startswith(dropped)}
    return rename(kept, SAM_NAMES) | {"prompt_encoder.kinds.weight": torch.cat(kinds)}
