"""Test-time augmentation: what mirror images and other sizes give is brought back and merged as computed by hand."""

import pytest
import torch

from mmopt.models.bev.inference import mean_probability
from mmopt.models.detection.inference import gather_candidates
from mmopt.models.segmentation.inference import average_probabilities
from mmopt.structures import DataSample
from tests.models.detection.conftest import build


class BrightSpot(torch.nn.Module):
    """Finds a box of 8 x 6 around the brightest pixel: what is mirrored or enlarged is found there."""

    strides = (32,)

    def forward(self, images):
        return images

    def decode(self, images_BCHW):
        width = images_BCHW.shape[-1]
        place_B = images_BCHW.sum(dim=1).flatten(1).argmax(dim=1)
        x_B, y_B = place_B % width + 0.5, place_B // width + 0.5
        scale = width / 64
        boxes = torch.stack((x_B - 4 * scale, y_B - 3 * scale, x_B + 4 * scale, y_B + 3 * scale), dim=1)
        return boxes[:, None], torch.tensor([[[0.2, 0.7]]]).expand(len(boxes), 1, 2)


def _detector(**options):
    model = build(score_threshold=0.1, nms_iou=0.5, **options)
    model.backbone = model.neck = torch.nn.Identity()
    model.head = BrightSpot()
    return model.eval()


def _predict(model, images):
    samples = [DataSample(metainfo=dict(img_shape=(32, 64))) for _ in images]
    return model(images, samples, 'predict')


def _spots():
    images = torch.zeros(2, 3, 32, 64)
    images[0, :, 10, 20] = 1
    images[1, :, 25, 50] = 1
    return images


def test_a_detector_that_mirrors_with_its_image_finds_the_same_with_and_without():
    plain = _predict(_detector(), _spots())
    mirrored = _predict(_detector(eval_flip=True), _spots())
    assert plain[0].pred_boxes.tolist() == [[16.5, 7.5, 24.5, 13.5]]
    for one, other in zip(plain, mirrored, strict=True):
        assert one.pred_boxes.tolist() == other.pred_boxes.tolist()
        assert one.pred_scores.tolist() == other.pred_scores.tolist()
        assert one.pred_labels.tolist() == other.pred_labels.tolist() == [1]


def test_boxes_of_a_larger_view_come_back_to_the_pixels_of_the_image():
    (sample, _) = _predict(_detector(eval_scales=(2.0,)), _spots())
    # A pixel of the image is two of the view.
    torch.testing.assert_close(sample.pred_boxes, torch.tensor([[16.5, 7.5, 24.5, 13.5]]), atol=0.5, rtol=0)


def test_views_are_turned_back_and_suppression_merges_what_overlaps():
    seen = []

    def candidates(images):
        seen.append(tuple(images.shape[-2:]))
        number = len(seen)
        x, score = {1: (10.0, 0.6), 2: (42.0, 0.8), 3: (20.0, 0.5), 4: (20.0, 0.4)}[number]
        size = 12.0 if number < 3 else 24.0
        return torch.tensor([[[x, 4.0, x + size, 4.0 + size]]]), torch.tensor([[[score]]])

    options = dict(scales=(1.0, 2.0), flip=True, divisor=32)
    boxes, scores = gather_candidates(candidates, torch.zeros(1, 3, 32, 64), **options)
    assert seen == [(32, 64)] * 2 + [(64, 128)] * 2
    # Mirrored, 42 to 54 of 64 is 10 to 22; of the view of twice the size 20 to 44 is 10 to 22, mirrored 84 to 108.
    assert boxes[0].tolist() == [[10, 4, 22, 16], [10, 4, 22, 16], [10, 2, 22, 14], [42, 2, 54, 14]]
    assert scores[0, :, 0].tolist() == pytest.approx([0.6, 0.8, 0.5, 0.4])
    # The first and third overlap the second, the best, by 1 and by 10 / 14.
    model = _detector()
    (sample,) = model._predict(boxes, scores, [DataSample(metainfo=dict(img_shape=(32, 64)))])
    assert sample.pred_boxes.tolist() == [[10, 4, 22, 16], [42, 2, 54, 14]]
    assert sample.pred_scores.tolist() == pytest.approx([0.8, 0.4])


def test_every_view_has_its_share_of_candidates():
    assert build(max_candidates=10).num_candidates == 10
    assert build(max_candidates=10, eval_scales=(0.5, 1.0), eval_flip=True).num_candidates == 40


def test_a_size_that_is_none_is_refused():
    with pytest.raises(ValueError, match=r'eval_scales are positive and at least one, got \[0\]'):
        build(eval_scales=(0,))


def test_a_segmentor_that_looks_at_single_pixels_gives_the_same_with_and_without():
    images = torch.rand(2, 3, 8, 12)
    plain = average_probabilities(lambda image: 5 * image, images)
    torch.testing.assert_close(average_probabilities(lambda image: 5 * image, images, flip=True), plain)


def test_the_ground_of_a_mirror_image_is_turned_back_with_its_camera():
    images = torch.rand(2, 3, 4, 10)
    intrinsics = torch.tensor([[[5.0, 0, 2.0], [0, 5, 1], [0, 0, 1]]]).repeat(2, 1, 1)
    centers = []

    def logits(view, cameras):
        centers.append(cameras[0, 0, 2].item())
        return view

    plain = mean_probability(logits, images, intrinsics, flip=False)
    torch.testing.assert_close(mean_probability(logits, images, intrinsics, flip=True), plain)
    assert centers == [2.0, 2.0, 7.0]  # 10 - 1 - 2: pixel centers lie at whole numbers
    assert intrinsics[0, 0, 2] == 2.0

    def left_only(view, cameras):
        return torch.where(torch.arange(10) < 5, 2.0, -2.0).expand_as(view)

    # A left half of 0.88 and a right one of 0.12, whatever is seen: the mirror image gives the opposite.
    torch.testing.assert_close(mean_probability(left_only, images, intrinsics, flip=True), torch.full_like(images, 0.5))
