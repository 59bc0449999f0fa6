"""The twelve classes of the scenes: stuff first, then things."""

from typing import NamedTuple


class SceneClass(NamedTuple):
    """One class: its label in the masks, names in both languages, kind and display colour (RGB)."""

    id: int
    name: str
    name_zh: str
    isthing: bool
    color: tuple[int, int, int]


# After Paul Tol's "muted" scheme, moved apart until readers with protanopia and deuteranopia can
# tell all of them (a test measures it).
CLASSES: tuple[SceneClass, ...] = (
    SceneClass(0, "sky", "天空", False, (136, 204, 238)),
    SceneClass(1, "building", "建筑", False, (204, 102, 119)),
    SceneClass(2, "road", "道路", False, (40, 40, 44)),
    SceneClass(3, "pavement", "人行道", False, (204, 204, 204)),
    SceneClass(4, "grass", "草地", False, (170, 200, 60)),
    SceneClass(5, "water", "水面", False, (51, 34, 136)),
    SceneClass(6, "wall", "墙", False, (221, 204, 119)),
    SceneClass(7, "tree", "树", True, (17, 119, 51)),
    SceneClass(8, "car", "汽车", True, (213, 94, 0)),
    SceneClass(9, "person", "行人", True, (160, 30, 90)),
    SceneClass(10, "sign", "标志牌", True, (255, 238, 0)),
    SceneClass(11, "animal", "动物", True, (170, 68, 153)),
)

SKY, BUILDING, ROAD, PAVEMENT, GRASS, WATER, WALL, TREE, CAR, PERSON, SIGN, ANIMAL = range(12)
VOID = 255
