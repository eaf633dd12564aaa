import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmopt.datasets.video.chunks import cut_chunks, sample_frames, segments_in_chunk


def test_a_border_inside_a_segment_moves_to_its_edge_by_hand():
    segments = np.array([(0, 20), (20, 45), (45, 50), (60, 90), (90, 100)])
    assert cut_chunks(segments, 0, 100, 40) == [(0, 20), (20, 60), (60, 100)]
    assert cut_chunks(segments, 0, 100, 35) == [(0, 20), (20, 55), (55, 90), (90, 100)]
    assert cut_chunks(segments, 0, 100, None) == [(0, 100)]
    assert cut_chunks(segments, 0, 100, 1000) == [(0, 100)]
    assert cut_chunks(segments, 10, 10, 5) == []


def test_labels_are_shifted_by_the_start_of_the_chunk_and_clipped():
    inside, local = segments_in_chunk(np.array([(0, 20), (15, 45), (45, 50), (40, 70)]), 15, 45)
    assert inside.tolist() == [0, 1, 3]
    assert local.tolist() == [[0, 5], [0, 30], [25, 30]]


def test_a_segment_that_fits_into_no_chunk_is_cut_and_does_not_cut_others():
    segments = np.array([(0, 100), (100, 130), (130, 150)])
    assert cut_chunks(segments, 0, 150, 40) == [(0, 40), (40, 80), (80, 100), (100, 130), (130, 150)]


@st.composite
def videos(draw):
    """Segments that follow each other with gaps, and a chunk that holds the longest."""
    lengths = draw(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 30)), min_size=1, max_size=20))
    segments, place = [], 0
    for gap, length in lengths:
        segments.append((place + gap, place + gap + length))
        place += gap + length
    return np.array(segments), place + draw(st.integers(0, 50)), draw(st.integers(30, 200))


@settings(max_examples=200, deadline=None)
@given(videos())
def test_chunks_cover_the_video_and_keep_every_segment_whole(video):
    segments, stop, max_frames = video
    chunks = cut_chunks(segments, 0, stop, max_frames)
    assert [chunk[0] for chunk in chunks] == [0, *(chunk[1] for chunk in chunks[:-1])]
    assert chunks[-1][1] == stop
    assert all(0 < last - first <= max_frames for first, last in chunks)
    found = []
    for first, last in chunks:
        inside, local = segments_in_chunk(segments, first, last)
        found += [(index, *(span + first)) for index, span in zip(inside, local, strict=True)]
    assert found == [(index, *span) for index, span in enumerate(segments)]


def test_frames_are_the_rounded_even_places_from_first_to_last():
    assert sample_frames(10, 18, 8).tolist() == list(range(10, 18))
    assert sample_frames(0, 15, 8).tolist() == [0, 2, 4, 6, 8, 10, 12, 14]
    assert sample_frames(5, 8, 5).tolist() == [5, 6, 6, 6, 7]  # 5, 5.5, 6, 6.5, 7: halves go to the even neighbor
    assert sample_frames(3, 4, 4).tolist() == [3, 3, 3, 3]


def test_a_chunk_of_no_frames_is_refused():
    with pytest.raises(ValueError, match='max_video_frames must be at least 1 or None, got 0'):
        cut_chunks(np.zeros((0, 2), int), 0, 10, 0)
