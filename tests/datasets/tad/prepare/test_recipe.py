"""What a session's frames, animals and intervals say about its config."""

import re

import numpy as np
import pytest

from mmopt.datasets.tad.layout import Video
from mmopt.datasets.tad.prepare.probe import ProbePart, choose_parts, probe_score
from mmopt.utils.errors import DataError
from tests.benchmarks.sessions import make_session
from tests.conftest import load_script

VIDEO = Video('lab', '1', 30.0, 10.0, (400.0, 400.0), 40.0, ('lost', 'still', 'telling'), ((-1, -1, 'run'),))


def part(seed: int, num_frames: int = 1200) -> ProbePart:
    """An animal of which one point runs where the label says so, one stands still and one is mostly lost."""
    rng = np.random.default_rng(seed)
    label_T = np.repeat(rng.random(num_frames // 60) < 0.4, 60)
    walk = np.cumsum(np.where(label_T[:, None], rng.normal(0, 8, (num_frames, 2)), 0.0), axis=0)
    tracks = np.stack((rng.normal(200, 1, (num_frames, 2)), rng.normal(200, 1, (num_frames, 2)), 200 + walk), axis=1)
    tracks[rng.random(num_frames) < 0.8, 0] = np.nan
    return ProbePart(VIDEO, tracks[:, None].astype(np.float32), np.where(label_T, 0, 1))


def test_the_probe_chooses_the_part_that_tells_the_behavior_and_no_other():
    names, score = choose_parts(part(0), part(1), length=60.0, most=3)
    assert names == ('telling',)
    assert score > 0.85
    assert probe_score(part(0), part(1), [1], 60.0) < 0.6


def test_a_part_of_the_session_without_a_behavior_scores_nothing():
    empty = part(1)
    assert probe_score(part(0), ProbePart(VIDEO, empty.tracks_TMP2, np.ones_like(empty.label_T)), [2], 60.0) == 0.0


@pytest.fixture
def run(tmp_path, capsys):
    """Call the tool on a session of mice; returns what it printed, the text of the config, and the bar."""

    def call(num_frames: int, *flags: str, kind: str = 'mice'):
        session = make_session(kind, tmp_path / 'raw', num_frames)
        out = tmp_path / 'data'
        load_script('tools/datasets/prepare_session.py').main(
            [str(session.pose), str(session.annotation), '--out', str(out), *flags]
        )
        printed = capsys.readouterr()
        return printed.out, (out / 'tad_v7.py').read_text(), printed.err

    return call


def test_what_no_file_says_is_taken_and_said_beside_a_bar(run):
    said, _, bar = run(2400)
    assert re.search(r'100%.* 6/6 ', bar)
    assert 'No file says the frames per second: 30 is taken' in said
    assert 'No scale is given' in said


def test_the_frame_rate_of_a_boris_file_is_read(run):
    said, _, _ = run(3000, '--pix-per-cm', '20', kind='fish')
    assert 'frames per second' not in said


def test_a_frame_rate_that_contradicts_the_file_is_said(run):
    said, _, _ = run(3000, '--pix-per-cm', '20', '--fps', '50', kind='fish')
    assert 'says 60 frames per second; --fps 50 counts' in said


def test_a_session_too_short_to_train_on_is_refused_with_the_remedy(run):
    with pytest.raises(DataError, match=r'has 150 frames and \d+ intervals; it needs 200'):
        run(450, '--fps', '30')
