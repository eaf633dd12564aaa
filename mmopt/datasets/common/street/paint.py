"""Draw placed solids into a picture: culled, sorted, supersampled, lit.

An object has hundreds of faces of a few corners each. Its corners go through each step together: one face after the
other, calling numpy took most of a picture's time.

Shape letters: N points, F faces, H W picture.
"""

from collections.abc import Iterable, Sequence

import cv2
import numpy as np

from mmopt.datasets.common.street.camera import CAM_FRONT_HEIGHT_M, NEAR_M, Camera, clip_near
from mmopt.datasets.common.street.light import Light, shade
from mmopt.datasets.common.street.solids import Face, Solid, place

__all__ = ['blend', 'draw_solids', 'project_faces', 'to_pixels']

_SHIFT = 4
_MAX_SAMPLES = 1_600_000


def to_pixels(points_N2: np.ndarray) -> np.ndarray:
    """Round pixel coordinates to the fixed-point numbers that OpenCV's ``shift`` argument wants."""
    # Far outside the picture only the direction matters; OpenCV's edges overflow beyond about 2^31 / 2^16.
    return np.round(np.clip(points_N2, -12000, 12000) * (1 << _SHIFT)).astype(np.int32)


def blend(image_HW3: np.ndarray, top: int, left: int, rgb_hw3: np.ndarray, alpha_hw: np.ndarray) -> None:
    """Lay a picture with premultiplied alpha over ``image_HW3`` in place; parts outside are cut off."""
    height, width = image_HW3.shape[:2]
    y0, x0 = max(top, 0), max(left, 0)
    y1, x1 = min(top + len(alpha_hw), height), min(left + alpha_hw.shape[1], width)
    if y0 >= y1 or x0 >= x1:
        return
    part = slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)
    target = image_HW3[y0:y1, x0:x1]
    target *= 1 - alpha_hw[part][..., None]
    target += rgb_hw3[part]


def draw_solids(
    image_HW3: np.ndarray, camera: Camera, light: Light, solids: list[Solid], pose: tuple[float, float, float]
) -> None:
    """Draw one object.

    Args:
        image_HW3: The picture, float32 RGB, changed in place.
        solids: The object's parts.
        pose: x, z and yaw of the object.
    """
    shown: list[Face] = []
    normals: list[np.ndarray] = []
    for solid, normals_F3 in _far_to_near(solids, pose):
        for face, normal_3 in zip(solid.faces, normals_F3, strict=True):
            if not np.isnan(normal_3[0]):
                parts = list(_with_decals(face))
                shown += parts
                normals += [normal_3] * len(parts)
    if not shown:
        return
    _, middles_F3 = _place_polygons([face.points_N3 for face in shown], pose)
    colors_F3 = _colors(light, shown, np.array(normals), np.sqrt((middles_F3**2).sum(1)))
    contours, pixels_N2 = project_faces(camera, shown, pose)
    _fill(image_HW3, contours, pixels_N2, (colors_F3 * 255).tolist())


def _with_decals(face: Face) -> Iterable[Face]:
    yield face
    for decal in face.decals:
        yield from _with_decals(decal)


def _place_polygons(polygons: Sequence[np.ndarray], pose: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Return the corners (N, 3) of polygons in the world, and the mean of each polygon's."""
    counts = [len(polygon) for polygon in polygons]
    points_N3 = place(np.concatenate(polygons), *pose)
    starts = np.cumsum([0, *counts[:-1]])
    return points_N3, np.add.reduceat(points_N3, starts) / np.array(counts)[:, None]


def _far_to_near(solids: list[Solid], pose: tuple[float, float, float]) -> list[tuple[Solid, np.ndarray]]:
    """Sort solids for drawing, each with its faces' outward normals (F, 3).

    A cut-out's normal points to the camera; that of a face which is turned away, or has no area, is NaN.
    """
    eye_3 = np.array([0.0, CAM_FRONT_HEIGHT_M, 0.0])
    faces = [face.points_N3 for solid in solids for face in solid.faces]
    points_N3, face_middles_F3 = _place_polygons(faces, pose)
    _, middles = _place_polygons([np.concatenate([face.points_N3 for face in solid.faces]) for solid in solids], pose)
    starts = np.cumsum([0] + [len(polygon) for polygon in faces[:-1]])
    first = points_N3[starts]
    a_F3, b_F3 = points_N3[starts + 1] - first, points_N3[starts + 2] - first
    normals_F3 = a_F3[:, [1, 2, 0]] * b_F3[:, [2, 0, 1]] - a_F3[:, [2, 0, 1]] * b_F3[:, [1, 2, 0]]
    length_F1 = np.sqrt((normals_F3**2).sum(1, keepdims=True))
    normals_F3 /= np.where(length_F1 < 1e-9, np.nan, length_F1)
    to_eye_F3 = eye_3 - first
    owners = np.repeat(np.arange(len(solids)), [len(solid.faces) for solid in solids])
    flat_F1 = np.array([solid.flat for solid in solids])[owners, None]
    outwards_F3 = np.where(flat_F1, to_eye_F3, face_middles_F3 - middles[owners])
    normals_F3 *= np.where((normals_F3 * outwards_F3).sum(1, keepdims=True) < 0, -1, 1)
    normals_F3[~((normals_F3 * to_eye_F3).sum(1) > 0)] = np.nan
    distances = np.sqrt(((middles - eye_3) ** 2).sum(1)).tolist()
    order = sorted(range(len(solids)), key=lambda number: (solids[number].layer, -distances[number]))
    return [(solids[number], normals_F3[owners == number]) for number in order]


def _colors(light: Light, faces: list[Face], normals_F3: np.ndarray, distance_F: np.ndarray) -> np.ndarray:
    colors_F3 = shade(light, np.array([face.rgb for face in faces]), normals_F3, distance_F)
    if light.is_dark:
        for index, (face, distance) in enumerate(zip(faces, distance_F, strict=True)):
            if face.glow:
                shine = face.glow * np.array(face.rgb) * np.exp(-distance / (2 * light.haze_m))
                colors_F3[index] = np.maximum(colors_F3[index], shine)
            if face.lit:
                lamp = np.array(face.lit) * min(1.0, light.headlights * 1.1) * np.exp(-distance / light.haze_m)
                colors_F3[index] = np.maximum(colors_F3[index], lamp)
    return colors_F3


def project_faces(
    camera: Camera, faces: Sequence[Face], pose: tuple[float, float, float]
) -> tuple[list[list[slice]], np.ndarray]:
    """Place, clip and project faces with their holes.

    Args:
        faces: Faces of one object; decals are faces of their own here.
        pose: x, z and yaw of the object.

    Returns:
        The contours of each face as slices of the pixel coordinates, none for a face behind the camera; and the pixel
        coordinates (N, 2) of all.
    """
    polygons = [polygon for face in faces for polygon in (face.points_N3, *face.holes)]
    points_N3 = place(np.concatenate(polygons), *pose)
    counts = [len(polygon) for polygon in polygons]
    if points_N3[:, 2].min() < NEAR_M:
        stops = np.cumsum(counts).tolist()
        clipped = [clip_near(points_N3[stop - count : stop]) for stop, count in zip(stops, counts, strict=True)]
        clipped = [polygon if len(polygon) >= 3 else polygon[:0] for polygon in clipped]
        counts, points_N3 = [len(polygon) for polygon in clipped], np.concatenate(clipped)
    contours: list[list[slice]] = []
    stop, number = 0, 0
    for face in faces:
        contours.append([])
        for count in counts[number : number + 1 + len(face.holes)]:
            if count:
                contours[-1].append(slice(stop, stop + count))
            stop += count
        number += 1 + len(face.holes)
    return contours, camera.project(points_N3)


def _fill(image_HW3: np.ndarray, contours: list[list[slice]], pixels_N2: np.ndarray, colors: list[list[float]]) -> None:
    """Fill polygons in order, with 2 to 4 samples per pixel and side, and lay the result over the picture.

    All faces go into one buffer first: anti-aliasing each by itself would let the background shine through the seams.
    """
    if not len(pixels_N2):
        return
    size = np.array(image_HW3.shape[1::-1])
    low = np.clip(np.floor(pixels_N2.min(0)).astype(int) - 1, 0, size)
    high = np.clip(np.ceil(pixels_N2.max(0)).astype(int) + 2, 0, size)
    width, height = (high - low).tolist()
    if width <= 0 or height <= 0:
        return
    scale = next((k for k in (4, 3, 2) if width * height * k * k <= _MAX_SAMPLES), 1)
    rgba = np.zeros((height * scale, width * scale, 4), np.uint8)
    # Pixel centers are integers, so a pixel begins half a pixel earlier.
    fixed_N2 = to_pixels((pixels_N2 - low + 0.5) * scale - 0.5)
    for parts, rgb in zip(contours, colors, strict=True):
        if parts:
            cv2.fillPoly(rgba, [fixed_N2[part] for part in parts], (*rgb, 255), shift=_SHIFT)
    if scale > 1:
        rgba = cv2.resize(rgba, (width, height), interpolation=cv2.INTER_AREA)
    shares = rgba.astype(np.float32) / 255
    blend(image_HW3, int(low[1]), int(low[0]), shares[..., :3], shares[..., 3])
