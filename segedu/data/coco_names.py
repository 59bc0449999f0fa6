"""Chinese names of the 133 classes of COCO, whose files have English ones alone."""

_THINGS = """
person 人, bicycle 自行车, car 汽车, motorcycle 摩托车, airplane 飞机, bus 公交车, train 火车,
truck 卡车, boat 船, traffic light 交通灯, fire hydrant 消防栓, stop sign 停车标志,
parking meter 停车计时器, bench 长椅, bird 鸟, cat 猫, dog 狗, horse 马, sheep 羊, cow 牛,
elephant 大象, bear 熊, zebra 斑马, giraffe 长颈鹿, backpack 背包, umbrella 雨伞, handbag 手提包,
tie 领带, suitcase 行李箱, frisbee 飞盘, skis 滑雪板, snowboard 单板滑雪板, sports ball 球,
kite 风筝, baseball bat 棒球棒, baseball glove 棒球手套, skateboard 滑板, surfboard 冲浪板,
tennis racket 网球拍, bottle 瓶子, wine glass 酒杯, cup 杯子, fork 叉子, knife 刀, spoon 勺子,
bowl 碗, banana 香蕉, apple 苹果, sandwich 三明治, orange 橙子, broccoli 西兰花, carrot 胡萝卜,
hot dog 热狗, pizza 比萨饼, donut 甜甜圈, cake 蛋糕, chair 椅子, couch 沙发, potted plant 盆栽,
bed 床, dining table 餐桌, toilet 马桶, tv 电视, laptop 笔记本电脑, mouse 鼠标, remote 遥控器,
keyboard 键盘, cell phone 手机, microwave 微波炉, oven 烤箱, toaster 烤面包机, sink 水槽,
refrigerator 冰箱, book 书, clock 钟, vase 花瓶, scissors 剪刀, teddy bear 泰迪熊,
hair drier 吹风机, toothbrush 牙刷
"""
_STUFF = """
banner 横幅, blanket 毯子, bridge 桥, cardboard 纸板, counter 柜台, curtain 窗帘, door-stuff 门,
floor-wood 木地板, flower 花, fruit 水果, gravel 砾石, house 房屋, light 灯, mirror-stuff 镜子,
net 网, pillow 枕头, platform 站台, playingfield 运动场, railroad 铁轨, river 河流, road 道路,
roof 屋顶, sand 沙地, sea 海, shelf 架子, snow 雪, stairs 楼梯, tent 帐篷, towel 毛巾,
wall-brick 砖墙, wall-stone 石墙, wall-tile 瓷砖墙, wall-wood 木墙, water-other 其他水面,
window-blind 百叶窗, window-other 其他窗户, tree-merged 树, fence-merged 栅栏,
ceiling-merged 天花板, sky-other-merged 天空, cabinet-merged 橱柜, table-merged 桌子,
floor-other-merged 其他地板, pavement-merged 人行道, mountain-merged 山, grass-merged 草地,
dirt-merged 泥土, paper-merged 纸, food-other-merged 其他食物, building-other-merged 建筑,
rock-merged 岩石, wall-other-merged 其他墙, rug-merged 地毯
"""
_PAIRS = (_THINGS + "," + _STUFF).split(",")
CHINESE: dict[str, str] = dict(" ".join(pair.split()).rsplit(" ", 1) for pair in _PAIRS)


def chinese_name(name: str) -> str:
    """The Chinese name of a class of COCO; the name itself if it is none of them."""
    return CHINESE.get(name, name)
