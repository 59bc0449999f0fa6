"""Chapter 9.1: the names of the field stand there, each with its source, and its tree holds no other."""

import ast
import json
import re

import pytest

from tests.chapters.prose import ROOT

PATH = ROOT / "chapters/09-wrap-up/01-choosing-a-model.ipynb"
CELLS = json.loads(PATH.read_text(encoding="utf-8"))["cells"]
NETWORKS = {
    "DeepLab v3+": "chen2018deeplabv3plus",
    "HRNet": "wang2021hrnet",
    "SegFormer": "xie2021segformer",
    "U-Net": "ronneberger2015unet",
    "nnU-Net": "isensee2021nnunet",
    "BiSeNet": "yu2018bisenet",
    "Fast-SCNN": "poudel2019fastscnn",
    "PIDNet": "xu2023pidnet",
    "Mask R-CNN": "he2017maskrcnn",
    "Cascade Mask R-CNN": "cai2021cascade",
    "YOLACT": "bolya2019yolact",
    "CenterMask": "lee2020centermask",
    "BlendMask": "chen2020blendmask",
    "MaskTrack R-CNN": "yang2019masktrack",
    "SipMask": "cao2020sipmask",
    "Panoptic FPN": "kirillov2019panopticfpn",
    "UPSNet": "xiong2019upsnet",
    "EfficientPS": "mohan2021efficientps",
    "Panoptic-DeepLab": "cheng2020panopticdeeplab",
    "MaskFormer": "cheng2021maskformer",
    "Mask2Former": "cheng2022mask2former",
    "SAM": "kirillov2023sam",
    "SAM 2": "ravi2025sam2",
}


@pytest.mark.parametrize("language", ["lang-en", "lang-zh"])
@pytest.mark.parametrize("name", NETWORKS)
def test_each_name_stands_with_its_source(name, language):
    prose = ["".join(c["source"]) for c in CELLS if language in c["metadata"].get("tags", [])]
    lines = [line for text in prose for line in text.splitlines() if line.startswith("- ")]
    cited = re.compile(
        rf"(?<![\w-]){re.escape(name)}(?! R-| 2|[\w+-])[^#]*bibliography\.md#{NETWORKS[name]}\)"
    )
    assert any(map(cited.search, lines))


def test_the_tree_holds_these_names():
    (code,) = (text for c in CELLS if (text := "".join(c["source"])).startswith("tree = "))
    tree = ast.literal_eval(code.removeprefix("tree = "))
    names = [
        name
        for branches in tree.values()
        for leaf in branches.values()
        for name in leaf.split(", ")
    ]
    assert sorted(names) == sorted(NETWORKS)
