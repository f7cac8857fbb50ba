"""MediaPipe's face mesh by numbers: which of its 478 landmarks are what. Left and right are the subject's.

Numbers as in mediapipe's face_mesh_connections; the irises follow the 468 landmarks of the surface.
"""

COUNT = 478
SURFACE_COUNT = 468
# Iris centres, nose tip, mouth corners; the subject's right first, as in the ArcFace template.
FIVE_POINTS = (468, 473, 4, 61, 291)
# The open eye, along the lids; the subject's left eye first.
EYE_OUTLINES = (
    (263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249),
    (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7),
)
EYE_CORNERS = (33, 263)  # the outer ones, right and left
# Centre and four points of the rim; the subject's left eye first.
IRIS_LANDMARKS = ((473, 474, 475, 476, 477), (468, 469, 470, 471, 472))
# Each brow's outline, right and left.
BROWS = ((70, 63, 105, 66, 107, 55, 65, 52, 53, 46), (300, 293, 334, 296, 336, 285, 295, 282, 283, 276))
INNER_MOUTH = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95)
OUTER_MOUTH = (0, 37, 39, 40, 185, 61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267)
# The bridge of the nose down to its tip, and its lower edge from the right wing to the left one.
NOSE_LINES = ((168, 6, 197, 195, 5, 4), (48, 64, 98, 97, 2, 326, 327, 294, 278))
# The face's outline, from the middle of the forehead by the subject's left side.
OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
