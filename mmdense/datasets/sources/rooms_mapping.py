"""How the procedural rooms fill the layouts of other data sets: tables.

The 13 classes of a room are not the classes of a street. The tables keep what can be kept
(a chair is a chair where there are chairs) and choose the rest so that every layout has
several classes of varied size: written trees test readers, transforms, losses and metrics.
They teach a network nothing about streets.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..rooms.constants import CLASSES

#: Rooms class to layout class, in the order of :data:`~mmdense.datasets.rooms.constants.CLASSES`:
#: bed, books, ceiling, chair, floor, furniture, objects, picture, sofa, table, tv, wall, window.
#: NYUD-v2: furniture becomes 'otherfurniture', objects 'otherprop'.
NYUD = (3, 22, 21, 4, 1, 38, 39, 10, 5, 6, 24, 0, 8)
NYUV2 = tuple(range(len(CLASSES)))
#: PASCAL: what VOC does not know is background; objects are 'pottedplant'.
PASCAL = (0, 0, 0, 9, 0, 0, 16, 0, 18, 11, 20, 0, 0)
#: Cityscapes training ids: bed bus, books vegetation, ceiling sky, chair bicycle, floor road,
#: furniture car, objects pole, picture traffic sign, sofa truck, table wall, tv traffic
#: light, wall building, window fence.
CITYSCAPES = (15, 8, 10, 18, 0, 13, 5, 7, 14, 3, 6, 2, 4)
#: Taskonomy: bed, book, chair, couch, dining table, tv; objects are 'vase'.
TASKONOMY = (5, 14, 0, 2, 0, 0, 16, 0, 3, 6, 8, 0, 0)


@dataclass(frozen=True)
class RoomsLayout:
    """What a layout makes of a room.

    Attributes:
        sizes: Picture sizes (H, W) in turn; PASCAL has pictures of many sizes.
        table: Rooms class to class of the layout.
        person: Class of people, None where the layout leaves them with the objects.
    """

    sizes: tuple[tuple[int, int], ...]
    table: tuple[int, ...]
    person: int | None = None


LAYOUTS = {
    'folder': RoomsLayout(((240, 320),), tuple(range(len(CLASSES)))),
    'nyud': RoomsLayout(((425, 560),), NYUD, 30),
    'nyud-mt': RoomsLayout(((425, 560),), NYUD, 30),
    'nyuv2': RoomsLayout(((288, 384),), NYUV2),
    'pascal': RoomsLayout(
        ((375, 500), (500, 375), (333, 500), (500, 334), (281, 500), (442, 500)), PASCAL, 15
    ),
    'cityscapes': RoomsLayout(((1024, 2048),), CITYSCAPES, 11),
    'cityscapes-small': RoomsLayout(((128, 256),), CITYSCAPES, 11),
    'taskonomy': RoomsLayout(((512, 512),), TASKONOMY),
}

#: Metres between the cameras of the simulated stereo pair. Rooms begin at half a metre: with
#: the 0.22 m of the real car, near disparities would not fit the 16-bit encoding.
BASELINE = 0.05
#: Picture width, in pixels, for which small copies of Cityscapes hold their disparities.
FULL_WIDTH = 2048

#: Categories of PASCAL-Context for each rooms class, id to name. The instances of a class
#: take them in turn, so that neighbours mostly differ and their border is a boundary.
CONTEXT: tuple[dict[int, str], ...] = (
    {18: 'bed', 245: 'mattress'},
    {33: 'book', 265: 'newspaper'},
    {68: 'ceiling'},
    {72: 'chair', 383: 'stool', 22: 'bench'},
    {158: 'floor', 330: 'rug'},
    {46: 'cabinet', 442: 'wardrobe', 349: 'shelves', 79: 'closet'},
    {308: 'pottedplant', 232: 'light', 34: 'bottle', 104: 'cup', 307: 'pot', 37: 'box'},
    {287: 'picture', 306: 'poster', 285: 'photo'},
    {368: 'sofa', 106: 'cushion'},
    {397: 'table', 96: 'counter'},
    {427: 'tvmonitor', 340: 'screen'},
    {440: 'wall'},
    {454: 'window', 105: 'curtain', 455: 'window blinds'},
)
#: The category of people.
CONTEXT_PERSON = (284, 'person')
#: Categories where a network trained on NYU has no say: normals are unknown there.
_WITHOUT_NORMALS = ('pottedplant', 'wardrobe', 'newspaper', 'window blinds')


def normal_categories() -> dict[int, str]:
    """Context categories of a room where normals are known, number to name."""
    pairs = [pair for categories in CONTEXT for pair in categories.items()]
    return {
        number: name for number, name in [*pairs, CONTEXT_PERSON] if name not in _WITHOUT_NORMALS
    }
