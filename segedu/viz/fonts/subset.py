"""Makes ``SegeduSansSC-Regular.otf``, the font in which the book draws, from Noto Sans CJK SC.

    python segedu/viz/fonts/subset.py /usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc

Needs fonttools and the Debian package fonts-noto-cjk. The same input gives the same bytes. The
family gets a name of its own so that it never mixes with a Noto font installed on the machine.
"""

import sys
from pathlib import Path

from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTFont

FAMILY = "Segedu Sans SC"
OUTPUT = Path(__file__).with_name("SegeduSansSC-Regular.otf")
SIMPLIFIED_CHINESE_FACE = 2  # the .ttc holds JP, KR, SC, TC, HK in this order

# Characters outside GB2312 level 1 that texts on images, learning and medicine need.
TECHNICAL = (
    "熵阈嵌叠冗迭谱栅掩膜瞳颅髋胰脾膀胱腺肋脊椎癌瘤肺腔瓣腱髂颞颈骸痣囊胛髌骶胫腓桡颌咽喉椭衍弧馈螺畴"
    "铰矢瞄窥昼孪缪粗糙犍锚鲁棒帧晰糊嗓噪鹿羚骆驼猩雏鸢鹫鹦鹉鳄蜥蜻蜓蝴蝶鹅鸽鹰鲨鲸鲑甄贝斯偏倚瑕疵"
    "娓裆裙裤靴滑雪橇轿摩托艇舢舶舷叉匙碟砧烤橱窗帘栏杆篱笆垛砾岩沥柏洼泞藤葵菊芦苇苔藓蕨荫翳熠烁"
    "斓斑驳莹璃瓷釉箔鬃髓髁瘘疝痔痂痤癫痫癣瘫痪胼胝颚颊颧颏睑睫眶巩腘肱尺骨盂贲幽肠肛肾盏肝胆胸腹"
    "耦遴瞰恪粒茎胚苷骰豹徊倏忽栩羧豌豆毗邻堑隘谬悖诠释涵篇揭瞥擎踪跟踵垫趾蹄爪喙羽鳍鳞秃蛎贻螃蟹虾阱浏筝"
)


def characters() -> set[int]:
    """Code points of the subset: GB2312 level 1, ASCII, Latin-1, Greek, punctuation, arrows."""
    level_1 = (bytes([row, cell]) for row in range(0xB0, 0xD8) for cell in range(0xA1, 0xFF))
    chinese = b"".join(level_1).decode("gb2312", errors="ignore") + TECHNICAL
    ranges = [
        (0x0020, 0x007F),  # ASCII
        (0x00A0, 0x0100),  # Latin-1
        (0x0391, 0x03CA),  # Greek
        (0x2010, 0x2028),  # dashes, quotation marks, dots
        (0x2080, 0x208F),  # subscript digits and signs
        (0x2190, 0x219A),  # arrows
        (0x2200, 0x2270),  # mathematical operators
        (0x2460, 0x246A),  # circled digits
        (0x25A0, 0x25D0),  # squares, triangles, circles
        (0x3000, 0x3018),  # Chinese punctuation
        (0xFF01, 0xFF5F),  # full-width forms
        (0xFFE5, 0xFFE6),  # yuan sign
    ]
    others = [0x2030, 0x2032, 0x2033, 0x203B, 0x2070, 0x2074, 0x2103, 0x2605, 0x2713, 0x2717]
    return {ord(c) for c in chinese}.union(others, *(range(*bounds) for bounds in ranges))


def subset(source: Path) -> TTFont:
    """Return the subset of the simplified Chinese face of the collection ``source``."""
    font = TTFont(source, fontNumber=SIMPLIFIED_CHINESE_FACE, recalcTimestamp=False)
    options = Options(layout_features=["kern"], name_IDs=[0, 1, 2, 3, 4, 5, 6, 13, 14])
    options.hinting = options.legacy_kern = False
    options.desubroutinize = False
    subsetter = Subsetter(options)
    subsetter.populate(unicodes=characters())
    subsetter.subset(font)
    names = {1: FAMILY, 3: f"{FAMILY} 1.0", 4: FAMILY, 6: FAMILY.replace(" ", "") + "-Regular"}
    for record in font["name"].names:
        if record.nameID in names:
            record.string = names[record.nameID]
    top = font["CFF "].cff
    top.fontNames = [names[6]]
    top.topDictIndex[0].FullName = top.topDictIndex[0].FamilyName = FAMILY
    return font


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    subset(Path(sys.argv[1])).save(OUTPUT)
    print(f"{OUTPUT.name}: {OUTPUT.stat().st_size / 1e6:.2f} MB")
