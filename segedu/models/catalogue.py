"""The table behind `segedu.models.list_models`: every network's builder, paper and size."""

from typing import Any, NamedTuple


class ModelInfo(NamedTuple):
    """What `list_models` says of a network."""

    builder: str  #: ``"file.callable"`` inside this package, imported when first used
    settings: dict[str, Any]  #: what the name fixes
    description: str  #: one line
    paper: str
    year: int
    parameters: int  #: with 21 classes and otherwise the defaults
    task: str = "semantic"  #: or "volume", "instance", "panoptic", "promptable"
    #: Of the losses of the outputs that training returns, the main one first: the paper's, or where
    #: it is silent its code's. For the default settings with auxiliary heads; empty without.
    aux_weights: tuple[float, ...] = ()


def deep_supervision_weights(resolutions: int) -> tuple[float, ...]:
    """Weights of losses, each half of that of the finer resolution before, in all 1.

    Source: nnU-Net (Isensee et al. 2021).
    """
    total = 2**resolutions - 1
    return tuple(2**i / total for i in reversed(range(resolutions)))


_FCN = "Fully Convolutional Networks for Semantic Segmentation"
_SEGNET = "SegNet: A Deep Convolutional Encoder-Decoder Architecture for Image Segmentation"
_REFINENET = "RefineNet: Multi-Path Refinement Networks for High-Resolution Semantic Segmentation"
_PSPNET = "Pyramid Scene Parsing Network"
_V3 = "Rethinking Atrous Convolution for Semantic Image Segmentation"
_V3_PLUS = "Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation"
_TIRAMISU = "The One Hundred Layers Tiramisu: Fully Convolutional DenseNets"
_HRNET = "High-Resolution Representations for Labeling Pixels and Regions"
_DISCRIMINATIVE = "Semantic Instance Segmentation with a Discriminative Loss Function"
_PANOPTIC_DEEPLAB = (
    "Panoptic-DeepLab: A Simple, Strong, and Fast Baseline for Bottom-Up Panoptic Segmentation"
)
_YOLACT = "YOLACT: Real-time Instance Segmentation"
_UNET = "U-Net: Convolutional Networks for Biomedical Image Segmentation"
_MASK2FORMER = "Masked-attention Mask Transformer for Universal Image Segmentation"
_SAM = "Segment Anything"
_MASKFORMER = "Per-Pixel Classification is Not All You Need for Semantic Segmentation"

MODELS: dict[str, ModelInfo] = {
    "fcn32s_vgg16": ModelInfo(
        "fcn.FCN", {"stride": 32}, "VGG-16, one upsampling by 32", _FCN, 2015, 136_152_917
    ),
    "fcn16s_vgg16": ModelInfo(
        "fcn.FCN", {"stride": 16}, "VGG-16, a skip from pool4", _FCN, 2015, 134_815_994
    ),
    "fcn8s_vgg16": ModelInfo(
        "fcn.FCN", {"stride": 8}, "VGG-16, skips from pool4 and pool3", _FCN, 2015, 134_489_759
    ),
    "fcn_resnet50": ModelInfo(
        "fcn.fcn_resnet",
        {"depth": 50},
        "dilated ResNet-50, stride 8",
        _FCN,
        2015,
        32_957_013,
        aux_weights=(1.0, 0.5),
    ),
    "fcn_resnet101": ModelInfo(
        "fcn.fcn_resnet",
        {"depth": 101},
        "dilated ResNet-101, stride 8",
        _FCN,
        2015,
        51_949_141,
        aux_weights=(1.0, 0.5),
    ),
    "unet": ModelInfo(
        "unet.UNet", {}, "padded and batch-normalised, any size from 16", _UNET, 2015, 31_038_933
    ),
    "unet_valid": ModelInfo(
        "unet.unet_valid", {}, "the paper's: 1 channel, 572 -> 388", _UNET, 2015, 31_031_893
    ),
    "unet_plus_plus": ModelInfo(
        "unet_plus_plus.UNetPlusPlus",
        {},
        "nested skips, deep supervision, pruning",
        "UNet++: A Nested U-Net Architecture for Medical Image Segmentation",
        2018,
        9_163_989,
        aux_weights=(0.25,) * 4,
    ),
    "segnet_vgg16": ModelInfo(
        "segnet.segnet_vgg16", {}, "VGG-16 mirrored, pooling indices", _SEGNET, 2017, 29_455_125
    ),
    "segnet_basic": ModelInfo(
        "segnet.segnet_basic", {}, "four 7x7 convolutions down, four up", _SEGNET, 2017, 1_417_237
    ),
    "refinenet_resnet50": ModelInfo(
        "refinenet.RefineNet", {"depth": 50}, "cascaded refinement", _REFINENET, 2017, 99_060_309
    ),
    "refinenet_resnet101": ModelInfo(
        "refinenet.RefineNet", {"depth": 101}, "cascaded refinement", _REFINENET, 2017, 118_052_437
    ),
    "pspnet_resnet50": ModelInfo(
        "pspnet.pspnet",
        {"depth": 50},
        "pyramid pooling, stride 8",
        _PSPNET,
        2017,
        49_081_578,
        aux_weights=(1.0, 0.4),
    ),
    "pspnet_resnet101": ModelInfo(
        "pspnet.pspnet",
        {"depth": 101},
        "pyramid pooling, stride 8",
        _PSPNET,
        2017,
        68_073_706,
        aux_weights=(1.0, 0.4),
    ),
    "deeplab_v3_resnet50": ModelInfo(
        "deeplab.deeplab_v3_resnet",
        {"depth": 50},
        "ASPP, stride 8",
        _V3,
        2017,
        39_638_869,
        aux_weights=(1.0, 0.5),
    ),
    "deeplab_v3_resnet101": ModelInfo(
        "deeplab.deeplab_v3_resnet",
        {"depth": 101},
        "ASPP, stride 8",
        _V3,
        2017,
        58_630_997,
        aux_weights=(1.0, 0.5),
    ),
    "deeplab_v3_mobilenet_v3": ModelInfo(
        "deeplab.deeplab_v3_mobilenet_v3",
        {},
        "ASPP on MobileNetV3-Large",
        _V3,
        2017,
        11_025_477,
        aux_weights=(1.0, 0.5),
    ),
    "deeplab_v3_plus_resnet50": ModelInfo(
        "deeplab.DeepLabV3Plus",
        {"depth": 50},
        "separable ASPP and decoder",
        _V3_PLUS,
        2018,
        26_682_725,
    ),
    "deeplab_v3_plus_resnet101": ModelInfo(
        "deeplab.DeepLabV3Plus",
        {"depth": 101},
        "separable ASPP and decoder",
        _V3_PLUS,
        2018,
        45_674_853,
    ),
    "fc_densenet56": ModelInfo(
        "dense_unet.FCDenseNet",
        {"layers": (4,) * 5, "bottleneck": 4, "growth_rate": 12},
        "dense blocks, 56 layers",
        _TIRAMISU,
        2017,
        1_378_725,
    ),
    "fc_densenet67": ModelInfo(
        "dense_unet.FCDenseNet",
        {"layers": (5,) * 5, "bottleneck": 5},
        "dense blocks, 67 layers",
        _TIRAMISU,
        2017,
        3_466_133,
    ),
    "fc_densenet103": ModelInfo(
        "dense_unet.FCDenseNet", {}, "dense blocks, 103 layers", _TIRAMISU, 2017, 9_324_661
    ),
    "dense_unet121": ModelInfo(
        "dense_unet.DenseUNet",
        {},
        "U-Net on DenseNet-121",
        "H-DenseUNet: Hybrid Densely Connected UNet for Liver and Tumor Segmentation",
        2018,
        13_610_533,
    ),
    "danet_resnet50": ModelInfo(
        "attention.DANet",
        {},
        "position and channel attention",
        "Dual Attention Network for Scene Segmentation",
        2019,
        47_465_729,
        # The sum of three: junfu1115/DANet, 97f0c42, encoding/nn/customize.py.
        aux_weights=(1.0, 1.0, 1.0),
    ),
    "semantic_fpn_resnet50": ModelInfo(
        "fpn.SemanticFPN",
        {},
        "a feature pyramid, summed",
        "Panoptic Feature Pyramid Networks",
        2019,
        28_478_933,
    ),
    "hrnet_w18": ModelInfo(
        "hrnet.HRNet", {"width": 18}, "four strides at once", _HRNET, 2019, 9_641_661
    ),
    "hrnet_w32": ModelInfo(
        "hrnet.HRNet", {"width": 32}, "four strides at once", _HRNET, 2019, 29_547_477
    ),
    "hrnet_w48": ModelInfo(
        "hrnet.HRNet", {"width": 48}, "four strides at once", _HRNET, 2019, 65_860_821
    ),
    "enet": ModelInfo(
        "enet.ENet",
        {},
        "a third of a million parameters",
        "ENet: A Deep Neural Network Architecture for Real-Time Semantic Segmentation",
        2016,
        351_948,
    ),
    "fast_scnn": ModelInfo(
        "fast_scnn.FastSCNN",
        {},
        "one stem for detail and context",
        "Fast-SCNN: Fast Semantic Segmentation Network",
        2019,
        1_138_309,
        aux_weights=(1.0, 0.4),
    ),
    "bisenet_v1": ModelInfo(
        "bisenet.BiSeNetV1",
        {},
        "spatial and context path, ResNet-18",
        "BiSeNet: Bilateral Segmentation Network for Real-time Semantic Segmentation",
        2018,
        13_426_495,
        aux_weights=(1.0, 1.0, 1.0),
    ),
    "bisenet_v2": ModelInfo(
        "bisenet_v2.BiSeNetV2",
        {},
        "detail and semantic branch",
        "BiSeNet V2: Bilateral Network with Guided Aggregation for Real-time Semantic Segmentation",
        2021,
        5_236_265,
        aux_weights=(1.0,) * 5,
    ),
    "lraspp_mobilenet_v3": ModelInfo(
        "lraspp.LRASPP",
        {},
        "a gated 1x1 head for phones",
        "Searching for MobileNetV3",
        2019,
        3_221_538,
    ),
    **{
        f"segformer_b{variant}": ModelInfo(
            "segformer.SegFormer",
            {"variant": variant},
            "a pyramid of attention, decoder of linear layers",
            "SegFormer: Simple and Efficient Design for Semantic Segmentation with Transformers",
            2021,
            parameters,
        )
        for variant, parameters in enumerate(
            (3_719_541, 13_682_645, 27_362_773, 47_238_613, 64_009_173, 84_609_493)
        )
    },
    **{
        f"setr_{decoder}": ModelInfo(
            "setr.SETR",
            {"decoder": decoder},
            "a plain vision transformer, any size from tiny to large",
            "Rethinking Semantic Segmentation from a Sequence-to-Sequence Perspective with "
            "Transformers",
            2021,
            parameters,
            # fudan-zvg/SETR, f27d823, configs/SETR/SETR_*_768x768_80k_cityscapes_bs_8.py.
            aux_weights=(1.0,) + (0.4,) * heads,
        )
        for decoder, parameters, heads in (
            ("naive", 304_379_988, 3),
            ("pup", 316_310_612, 3),
            ("mla", 308_523_625, 4),
        )
    },
    "unet3d": ModelInfo(
        "unet3d.UNet3d",
        {},
        "3-D, wide before it pools, any size from 8",
        "3D U-Net: Learning Dense Volumetric Segmentation from Sparse Annotation",
        2016,
        19_074_069,
        "volume",
    ),
    "nnunet": ModelInfo(
        "unet3d.PlainUNet",
        {},
        "3-D or 2-D, instance normalisation, deep supervision",
        "nnU-Net: A Self-Configuring Method for Deep Learning-Based Biomedical Image Segmentation",
        2021,
        31_210_889,
        "volume",
        aux_weights=deep_supervision_weights(5),
    ),
    "faster_rcnn_resnet50_fpn": ModelInfo(
        "mask_rcnn.faster_rcnn_resnet50_fpn",
        {},
        "boxes only: proposals, then classes and offsets",
        "Faster R-CNN: Towards Real-Time Object Detection with Region Proposal Networks",
        2015,
        41_449_656,
        "instance",
    ),
    "mask_rcnn_resnet50_fpn": ModelInfo(
        "mask_rcnn.mask_rcnn_resnet50_fpn",
        {},
        "a mask branch beside the boxes, RoIAlign",
        "Mask R-CNN",
        2017,
        44_077_773,
        "instance",
    ),
    "mask_rcnn_tiny": ModelInfo(
        "mask_rcnn.mask_rcnn_tiny",
        {},
        "Mask R-CNN that learns small scenes on a CPU",
        "Mask R-CNN",
        2017,
        808_925,
        "instance",
    ),
    "panoptic_fpn_resnet50": ModelInfo(
        "panoptic_fpn.panoptic_fpn_resnet50",
        {},
        "Mask R-CNN and semantic FPN on one pyramid",
        "Panoptic Feature Pyramid Networks",
        2019,
        45_707_092,
        "panoptic",
    ),
    "panoptic_fpn_tiny": ModelInfo(
        "panoptic_fpn.panoptic_fpn_tiny",
        {},
        "Panoptic FPN that learns small scenes on a CPU",
        "Panoptic Feature Pyramid Networks",
        2019,
        955_492,
        "panoptic",
    ),
    **{
        f"yolact_resnet{depth}": ModelInfo(
            "yolact.YOLACT",
            {"depth": depth},
            "prototypes and coefficients",
            _YOLACT,
            2019,
            size,
            "instance",
        )
        for depth, size in ((50, 30_734_623), (101, 49_726_751))
    },
    "yolact_tiny": ModelInfo(
        "yolact.yolact_tiny",
        {},
        "narrow, learns scenes on a CPU",
        _YOLACT,
        2019,
        1_006_511,
        "instance",
    ),
    "maskformer_resnet50": ModelInfo(
        "maskformer.MaskFormer",
        {},
        "queries that become classes and masks, for all three tasks",
        _MASKFORMER,
        2021,
        41_274_710,
        "panoptic",
    ),
    "maskformer_tiny": ModelInfo(
        "maskformer.maskformer_tiny",
        {},
        "narrow, learns scenes on a CPU",
        _MASKFORMER,
        2021,
        713_318,
        "panoptic",
    ),
    "mask2former_resnet50": ModelInfo(
        "mask2former.Mask2Former",
        {},
        "masked attention over three scales, loss at points",
        _MASK2FORMER,
        2022,
        44_008_214,
        "panoptic",
    ),
    "mask2former_tiny": ModelInfo(
        "mask2former.mask2former_tiny",
        {},
        "narrow, learns scenes on a CPU",
        _MASK2FORMER,
        2022,
        569_398,
        "panoptic",
    ),
    **{
        f"sam_vit_{size}": ModelInfo(
            "sam.SAM",
            settings,
            "points, boxes and masks in, masks out",
            _SAM,
            2023,
            parameters,
            "promptable",
        )
        for size, settings, parameters in (
            ("base", {}, 93_735_472),
            (
                "large",
                {"layers": 24, "width": 1024, "heads": 16, "global_layers": (5, 11, 17, 23)},
                312_342_832,
            ),
            (
                "huge",
                {"layers": 32, "width": 1280, "heads": 16, "global_layers": (7, 15, 23, 31)},
                641_090_608,
            ),
        )
    },
    "sam_tiny": ModelInfo(
        "sam.sam_tiny", {}, "narrow, learns scenes on a CPU", _SAM, 2023, 471_944, "promptable"
    ),
    "panoptic_deeplab_resnet50": ModelInfo(
        "panoptic_deeplab.PanopticDeepLab",
        {},
        "from the bottom up: centres and offsets",
        _PANOPTIC_DEEPLAB,
        2020,
        55_309_384,
        "panoptic",
    ),
    "panoptic_deeplab_tiny": ModelInfo(
        "panoptic_deeplab.panoptic_deeplab_tiny",
        {},
        "narrow, learns scenes on a CPU",
        _PANOPTIC_DEEPLAB,
        2020,
        2_509_132,
        "panoptic",
    ),
    "embedding_enet": ModelInfo(
        "embedding.embedding_enet",
        {},
        "objects as clusters of pixels, on ENet",
        _DISCRIMINATIVE,
        2017,
        353_244,
        "panoptic",
    ),
    "embedding_tiny": ModelInfo(
        "embedding.embedding_tiny",
        {},
        "narrow, learns scenes on a CPU",
        _DISCRIMINATIVE,
        2017,
        818_606,
        "panoptic",
    ),
}
