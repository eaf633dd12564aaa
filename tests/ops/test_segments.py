import time

import pytest
import torch

from mmopt.ops.segments import (
    IGNORED,
    NEGATIVE,
    decode_segments,
    join_windows,
    make_anchors,
    match_anchors,
    segment_iou,
    segment_nms,
)

LENGTHS = (10, 30, 60, 120, 240)


def literal_iou(a, b) -> float:
    shared = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
    union = (a[1] - a[0]) + (b[1] - b[0]) - shared
    return shared / union


def literal_match(anchors, segments, usable, positive=0.5, negative=0.4) -> list[int]:
    """The paper's wording, one anchor and one segment at a time, for one sample."""
    match = []
    for anchor, use in zip(anchors, usable, strict=True):
        best, best_iou = NEGATIVE, 0.0
        for g, segment in enumerate(segments):
            iou = literal_iou(anchor, segment)
            if iou > best_iou:
                best, best_iou = g, iou
        if not use:
            match.append(IGNORED)
        elif best_iou >= positive:
            match.append(best)
        else:
            match.append(IGNORED if best_iou >= negative else NEGATIVE)
    for g, segment in enumerate(segments):
        best, best_iou = None, 0.0
        for a, anchor in enumerate(anchors):
            iou = literal_iou(anchor, segment)
            if usable[a] and iou > best_iou:
                best, best_iou = a, iou
        if best is not None:
            match[best] = g
    return match


def literal_nms(segments, scores, threshold, groups) -> list[int]:
    kept = []
    for n in sorted(range(len(scores)), key=lambda n: -scores[n]):
        if all(groups[n] != groups[k] or literal_iou(segments[n], segments[k]) <= threshold for k in kept):
            kept.append(n)
    return kept


def random_truth(batch: int, count: int, window: int = 1000):
    # Whole frames, so that overlaps are exact in float32 and in the literal float64 alike.
    start = torch.randint(0, window - 300, (batch, count))
    segments = torch.stack((start, start + torch.randint(1, 300, (batch, count))), dim=-1).float()
    return segments, torch.rand(batch, count) < 0.8


def test_overlap_by_hand():
    iou = segment_iou(torch.tensor([[0.0, 10.0], [5.0, 5.0]]), torch.tensor([[5.0, 15.0], [10.0, 20.0], [5.0, 5.0]]))
    torch.testing.assert_close(iou, torch.tensor([[5 / 15, 0.0, 0.0], [0.0, 0.0, 0.0]]))


def test_there_are_1250_anchors_of_five_lengths_at_every_fourth_frame():
    anchors = make_anchors(1000, 4, LENGTHS)
    assert anchors.shape == (1250, 2)
    assert anchors[:2].tolist() == [[-5, 5], [-15, 15]]
    assert anchors[-1].tolist() == [996 - 120, 996 + 120]


def test_offsets_are_in_units_of_the_length():
    moved = decode_segments(torch.tensor([[10.0, 30.0]]), torch.tensor([[[0.5, -0.25]]]))
    assert moved.tolist() == [[[20.0, 25.0]]]


@pytest.mark.parametrize('count', [0, 1, 7])
def test_matching_equals_the_literal_loop(count):
    anchors = make_anchors(1000, 4, LENGTHS)
    segments, real = random_truth(3, count)
    usable = torch.arange(1000)[None, ::4].lt(torch.tensor([[1000], [600], [40]])).repeat_interleave(5, dim=1)
    match = match_anchors(anchors, segments, real, usable)
    for b in range(3):
        kept = real[b].nonzero().flatten().tolist()
        literal = literal_match(anchors.tolist(), segments[b, real[b]].tolist(), usable[b].tolist())
        assert match[b].tolist() == [kept[m] if m >= 0 else m for m in literal]


def test_every_segment_gets_an_anchor_even_a_single_frame():
    segments = torch.tensor([[[500.0, 501.0], [100.0, 101.0]]])
    match = match_anchors(
        make_anchors(1000, 4, LENGTHS),
        segments,
        torch.ones(1, 2, dtype=torch.bool),
        torch.ones(1, 1250, dtype=torch.bool),
    )
    assert sorted(match[match >= 0].tolist()) == [0, 1]


def test_matching_is_50_times_faster_than_the_loop_at_batch_32():
    """The loop is timed on 2 of the 32 samples; it is linear in their number."""
    anchors = make_anchors(1000, 4, LENGTHS)
    segments, real = random_truth(32, 20)
    real[:] = True
    usable = torch.ones(32, 1250, dtype=torch.bool)
    match_anchors(anchors, segments, real, usable)

    def timed(run, repeats: int) -> float:
        best = float('inf')
        for _ in range(repeats):
            started = time.perf_counter()
            run()
            best = min(best, time.perf_counter() - started)
        return best

    vectorized_s = timed(lambda: match_anchors(anchors, segments, real, usable), 10)
    loop_s = 16 * timed(
        lambda: [literal_match(anchors.tolist(), segments[b].tolist(), usable[b].tolist()) for b in range(2)], 2
    )
    assert loop_s / vectorized_s > 50


@pytest.mark.parametrize('threshold', [0.0, 0.3, 0.7])
def test_suppression_equals_the_greedy_loop(threshold):
    segments, _ = random_truth(1, 80)
    scores = torch.randperm(80) / 80
    groups = torch.randint(0, 3, (80,))
    kept = segment_nms(segments[0], scores, threshold, groups)
    assert kept.tolist() == literal_nms(segments[0].tolist(), scores.tolist(), threshold, groups.tolist())


def test_a_suppressed_segment_suppresses_nothing():
    segments = torch.tensor([[0.0, 10.0], [4.0, 14.0], [8.0, 18.0]])
    assert segment_nms(segments, torch.tensor([0.9, 0.8, 0.7]), 0.3).tolist() == [0, 2]


def test_suppression_of_nothing_is_nothing():
    assert segment_nms(torch.zeros(0, 2), torch.zeros(0), 0.3).tolist() == []


def join(rows, margin=4):
    segments, scores, groups, windows = (torch.tensor(column) for column in zip(*rows, strict=True))
    events = join_windows(segments, scores, groups, windows, margin)
    return [(*s, round(c, 2), g) for s, c, g in zip(*(column.tolist() for column in events), strict=True)]


def test_an_event_cut_by_a_border_becomes_one():
    rows = [([80.0, 99.0], 0.6, 0, [0, 100]), ([80.0, 140.0], 0.9, 0, [80, 180])]
    assert join(rows) == [(80.0, 140.0, 0.83, 0)]  # (0.6 x 19 + 0.9 x 60) / 79


def test_an_event_over_three_windows_becomes_one():
    rows = [
        ([60.0, 100.0], 0.6, 0, [0, 100]),
        ([98.0, 200.0], 0.7, 0, [100, 200]),
        ([200.0, 250.0], 0.5, 0, [200, 300]),
    ]
    assert join(rows) == [(60.0, 250.0, 0.63, 0)]  # (0.6 x 40 + 0.7 x 102 + 0.5 x 50) / 192


def test_pieces_of_other_groups_or_closed_ones_stay_apart():
    rows = [([80.0, 100.0], 0.6, 0, [0, 100]), ([100.0, 140.0], 0.9, 1, [100, 200])]
    assert len(join(rows)) == 2
    rows = [([50.0, 90.0], 0.6, 0, [0, 100]), ([92.0, 140.0], 0.9, 0, [80, 180])]
    assert len(join(rows)) == 2


def test_two_events_of_one_window_are_never_joined():
    rows = [([80.0, 98.0], 0.6, 0, [0, 100]), ([99.0, 100.0], 0.9, 0, [0, 100])]
    assert len(join(rows)) == 2
