"""Names and numbers that the parts of the procedural rooms share."""

#: The 13 classes of NYUv2 in their usual order. Decisions where the list leaves a choice:
#: a door leaf is ``wall``; a rug is ``floor``; a curtain is ``window``; pillows and blankets
#: belong to the bed or sofa they lie on; people, plants, lamps and crockery are ``objects``.
#: Every surface of a room has a class, so the segmentation holds no unknown (255) pixel.
CLASSES = (
    'bed',
    'books',
    'ceiling',
    'chair',
    'floor',
    'furniture',
    'objects',
    'picture',
    'sofa',
    'table',
    'tv',
    'wall',
    'window',
)
(
    BED,
    BOOKS,
    CEILING,
    CHAIR,
    FLOOR,
    FURNITURE,
    OBJECTS,
    PICTURE,
    SOFA,
    TABLE,
    TV,
    WALL,
    WINDOW,
) = range(len(CLASSES))

#: Colours for pictures of the segmentation, RGB.
PALETTE = (
    (0, 0, 255),
    (233, 89, 48),
    (0, 218, 0),
    (149, 0, 240),
    (222, 241, 24),
    (255, 206, 206),
    (0, 224, 229),
    (106, 136, 204),
    (117, 29, 41),
    (240, 35, 235),
    (0, 167, 156),
    (249, 139, 0),
    (225, 229, 194),
)

#: Parts of a person; 0 is everything that is no person.
PARTS = ('background', 'head', 'torso', 'upper arm', 'lower arm', 'upper leg', 'lower leg')
HEAD, TORSO, UPPER_ARM, LOWER_ARM, UPPER_LEG, LOWER_LEG = range(1, len(PARTS))

#: Each split draws from its own random streams: no scene is in two of them.
SPLITS = {'train': 0, 'val': 1, 'test': 2}

#: Focal length over picture width: 63.4 degrees across, as an indoor depth camera.
FOCAL = 0.81
#: Metres between the imager and the pattern projector of the simulated depth camera.
PROJECTOR_BASELINE = 0.075
#: Range in which the simulated depth camera measures, metres.
DEPTH_RANGE = (0.5, 8.5)
