"""Draw placed solids into a picture: culled, sorted, supersampled, lit.

Shape letters: N points, H W picture.
"""

import cv2
import numpy as np

from mmopt.datasets.common.street.camera import CAM_FRONT_HEIGHT_M, NEAR_M, Camera, clip_near
from mmopt.datasets.common.street.light import Light, shade
from mmopt.datasets.common.street.solids import Face, Solid, place

__all__ = ['blend', 'draw_solids', 'project_contours', 'to_pixels']

_SHIFT = 4
_MAX_SAMPLES = 1_600_000


def to_pixels(points_N2: np.ndarray, scale: float = 1.0) -> np.ndarray:
    """Round pixel coordinates to the fixed-point numbers that OpenCV's ``shift`` argument wants."""
    # Far outside the picture only the direction matters; OpenCV's edges overflow beyond about 2^31 / 2^16.
    return np.round(np.clip(points_N2, -12000, 12000) * (scale * (1 << _SHIFT))).astype(np.int32)


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
    eye = np.array([0.0, CAM_FRONT_HEIGHT_M, 0.0])
    parts = sorted(solids, key=lambda solid: (solid.layer, -_distance(solid, pose, eye)))
    polygons: list[tuple[list[np.ndarray], np.ndarray]] = []
    for solid in parts:
        yaw = pose[2]
        middle = place(np.concatenate([face.points_N3 for face in solid.faces]), *pose).mean(0)
        for face in solid.faces:
            points = place(face.points_N3, pose[0], pose[1], yaw)
            normal = _normal(points, middle, eye, solid.flat)
            if normal is not None:
                _collect(polygons, camera, light, face, points, normal, (pose[0], pose[1], yaw))
    _fill(image_HW3, polygons)


def _distance(solid: Solid, pose: tuple[float, float, float], eye: np.ndarray) -> float:
    points = place(np.concatenate([face.points_N3 for face in solid.faces]), *pose)
    return float(np.linalg.norm(points.mean(0) - eye))


def _normal(points_N3: np.ndarray, middle_3: np.ndarray, eye_3: np.ndarray, flat: bool) -> np.ndarray | None:
    """Unit normal that points outwards, or towards the camera for a cut-out; None if the face is turned away."""
    normal = np.cross(points_N3[1] - points_N3[0], points_N3[2] - points_N3[0])
    length = np.linalg.norm(normal)
    if length < 1e-9:
        return None
    normal /= length
    outwards = eye_3 - points_N3[0] if flat else points_N3.mean(0) - middle_3
    if np.dot(normal, outwards) < 0:
        normal = -normal
    return normal if np.dot(normal, eye_3 - points_N3[0]) > 0 else None


def _collect(
    polygons: list,
    camera: Camera,
    light: Light,
    face: Face,
    points_N3: np.ndarray,
    normal_3: np.ndarray,
    pose: tuple[float, float, float],
) -> None:
    contours = [points_N3]
    if face.holes:
        ends = np.cumsum([len(hole) for hole in face.holes[:-1]])
        contours += np.split(place(np.concatenate(face.holes), *pose), ends)
    contours = project_contours(camera, contours)
    if not contours:
        return
    distance = float(np.linalg.norm(points_N3.mean(0)))
    rgb = shade(light, np.array(face.rgb), normal_3, distance)
    if face.glow and light.is_dark:
        rgb = np.maximum(rgb, face.glow * np.array(face.rgb) * np.exp(-distance / (2 * light.haze_m)))
    if face.lit and light.is_dark:
        rgb = np.maximum(rgb, np.array(face.lit) * min(1.0, light.headlights * 1.1) * np.exp(-distance / light.haze_m))
    polygons.append((contours, rgb))
    for decal in face.decals:
        _collect(polygons, camera, light, decal, place(decal.points_N3, *pose), normal_3, pose)


def project_contours(camera: Camera, contours: list[np.ndarray]) -> list[np.ndarray]:
    """Clip and project contours; those behind the camera are left out."""
    points = contours[0] if len(contours) == 1 else np.concatenate(contours)
    if points[:, 2].min() < NEAR_M:
        clipped = [clip_near(contour) for contour in contours]
        return [camera.project(contour) for contour in clipped if len(contour) >= 3]
    # All at once: a wall has hundreds of windows.
    return np.split(camera.project(points), np.cumsum([len(contour) for contour in contours[:-1]]))


def _fill(image_HW3: np.ndarray, polygons: list[tuple[list[np.ndarray], np.ndarray]]) -> None:
    """Fill polygons in order, with 2 to 4 samples per pixel and side, and lay the result over the picture.

    All faces go into one buffer first: anti-aliasing each by itself would let the background shine through the seams.
    """
    if not polygons:
        return
    points = np.concatenate([contour for contours, _ in polygons for contour in contours])
    size = np.array(image_HW3.shape[1::-1])
    low = np.clip(np.floor(points.min(0)).astype(int) - 1, 0, size)
    high = np.clip(np.ceil(points.max(0)).astype(int) + 2, 0, size)
    width, height = high - low
    if width <= 0 or height <= 0:
        return
    scale = next((k for k in (4, 3, 2) if width * height * k * k <= _MAX_SAMPLES), 1)
    buffer = np.zeros((height * scale, width * scale, 3), np.uint8)
    alpha = np.zeros((height * scale, width * scale), np.uint8)
    for contours, rgb in polygons:
        # Pixel centres are integers, so a pixel begins half a pixel earlier.
        shifted = [to_pixels((contour - low + 0.5) * scale - 0.5) for contour in contours]
        cv2.fillPoly(buffer, shifted, (rgb * 255).tolist(), shift=_SHIFT)
        cv2.fillPoly(alpha, shifted, 255, shift=_SHIFT)
    if scale > 1:
        buffer = cv2.resize(buffer, (int(width), int(height)), interpolation=cv2.INTER_AREA)
        alpha = cv2.resize(alpha, (int(width), int(height)), interpolation=cv2.INTER_AREA)
    blend(image_HW3, int(low[1]), int(low[0]), buffer.astype(np.float32) / 255, alpha.astype(np.float32) / 255)
