import cv2
import numpy as np
import pytest
import torch

from mmopt.ops.photometric import PHOTOMETRIC_FIELDS, draw_photometric, photometric_distortion

IDENTITY = dict(brightness=0.0, contrast_before=1.0, saturation=1.0, hue=0.0, contrast_after=1.0)


def params(**changed: float) -> torch.Tensor:
    values = IDENTITY | changed
    return torch.tensor([[values[name] for name in PHOTOMETRIC_FIELDS]])


def literal(image_HW3: np.ndarray, **changed: float) -> np.ndarray:
    """mmcv's steps through OpenCV's float HSV (hue 0-360, saturation and value 0-1)."""
    values = IDENTITY | changed
    image = np.clip(image_HW3.astype(np.float32) + values['brightness'], 0, 255)
    image = np.clip(image * values['contrast_before'], 0, 255)
    hsv = cv2.cvtColor(np.float32(image / 255), cv2.COLOR_RGB2HSV)
    hsv[..., 1] = np.clip(hsv[..., 1] * values['saturation'], 0, 1)
    hsv[..., 0] = (hsv[..., 0] + 2 * values['hue']) % 360
    image = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * 255
    return np.clip(image * values['contrast_after'], 0, 255)


@pytest.mark.parametrize(
    'changed',
    [
        dict(brightness=-31.5),
        dict(contrast_before=1.4),
        dict(saturation=0.5),
        dict(saturation=1.5),
        dict(hue=17.0),
        dict(hue=-18.0),
        dict(contrast_after=0.6),
        dict(brightness=20.0, contrast_before=1.2, saturation=1.3, hue=5.0),
    ],
)
def test_equals_opencv_step_by_step(changed):
    image = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    image[0] = 77  # gray: no hue
    image[1] = 0
    actual = photometric_distortion(torch.from_numpy(image).permute(2, 0, 1)[None], params(**changed))
    np.testing.assert_allclose(actual[0].permute(1, 2, 0), literal(image, **changed), atol=0.05)


def test_the_identity_changes_nothing_and_never_writes_to_its_input():
    image = torch.rand(1, 3, 4, 5) * 255
    before = image.clone()
    assert torch.equal(photometric_distortion(image, params()), before)
    photometric_distortion(image, params(brightness=9.0))
    assert torch.equal(image, before)


def test_samples_of_a_batch_do_not_mix():
    images = torch.randint(0, 256, (3, 3, 8, 9), dtype=torch.uint8)
    vectors = torch.cat((params(hue=4.0), params(), params(saturation=1.5, brightness=12.0)))
    batch = photometric_distortion(images, vectors)
    for index in range(3):
        assert torch.equal(
            batch[index], photometric_distortion(images[index : index + 1], vectors[index : index + 1])[0]
        )
    assert torch.equal(batch[1], images[1].float())


def test_draws_stay_in_range_and_apply_each_step_half_of_the_time():
    rng = np.random.default_rng(0)
    drawn = np.stack([draw_photometric(rng, hue_delta=10.0) for _ in range(2000)])
    assert drawn.dtype == np.float32
    low, high = drawn.min(0), drawn.max(0)
    np.testing.assert_allclose(low, [-32, 0.5, 0.5, -10, 0.5], atol=0.5)
    np.testing.assert_allclose(high, [32, 1.5, 1.5, 10, 1.5], atol=0.5)
    np.testing.assert_allclose((drawn != list(IDENTITY.values())).mean(0), [0.5, 0.25, 0.5, 0.5, 0.25], atol=0.05)
    assert not ((drawn[:, 1] != 1) & (drawn[:, 4] != 1)).any()


def test_the_same_generator_draws_the_same():
    first, second = (draw_photometric(np.random.default_rng(7)) for _ in range(2))
    assert (first == second).all()
