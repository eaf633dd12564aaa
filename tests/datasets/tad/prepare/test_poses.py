"""Tracks as DeepLabCut, SimBA and SLEAP write them: every header reads to the same numbers."""

import pickle

import numpy as np
import pytest

from mmopt.datasets.tad.prepare.poses import read_poses
from mmopt.utils.errors import DataError, UserError

COORDS = ('x', 'y', 'likelihood')
ROWS = [[10 + t, 20 + t, 0.9, 30 + t, 40 + t, 0.8] for t in range(4)]


def body(indices, separator=',') -> str:
    return ''.join(
        separator.join([*index.split(','), *map(str, row)]) + '\n' for index, row in zip(indices, ROWS, strict=True)
    )


def dlc(*corner: str, indices=('0', '1', '2', '3')) -> str:
    """A header whose rows begin with these cells, and four rows."""
    names = [['net'] * 6, ['nose'] * 3 + ['tail'] * 3, [*COORDS] * 2]
    return ''.join(','.join([cell, *row]) + '\n' for cell, row in zip(corner, names, strict=True)) + body(indices)


FLAT = 'nose_x,nose_y,nose_p,tail_x,tail_y,tail_p'
FILLING = ',' + ','.join(['IMPORTED_POSE'] * 6) + '\n'
FILES = {
    'DeepLabCut': dlc('scorer', 'bodyparts', 'coords'),
    'without names of the rows': dlc('', '', ''),
    'frames as floats': dlc('scorer', 'bodyparts', 'coords', indices=('0.0', '1.0', '2.0', '3.0')),
    'pictures': dlc('scorer', 'bodyparts', 'coords', indices=[f'labeled-data/a1/img{t:03}.png' for t in range(4)]),
    'pictures of Windows': dlc(
        'scorer', 'bodyparts', 'coords', indices=[f'labeled-data\\a1\\img{t}.png' for t in range(4)]
    ),
    'three index columns': dlc(
        'scorer,,', 'bodyparts,,', 'coords,,', indices=[f'data,a1,img{t}.png' for t in range(4)]
    ),
    'a name of the index': dlc('scorer', 'bodyparts', 'coords').replace('0,10,', 'frame,,,,,,\n0,10,', 1),
    'without a scorer': dlc('scorer', 'bodyparts', 'coords').split('\n', 1)[1],
    'other words': dlc('scorer', 'bodyparts', 'coords').replace('likelihood', 'score').replace(',x,', ',X,'),
    'no final newline': dlc('scorer', 'bodyparts', 'coords').rstrip(),
    'lines of Windows': dlc('scorer', 'bodyparts', 'coords').replace('\n', '\r\n'),
    'semicolons, decimal commas': dlc('scorer', 'bodyparts', 'coords').replace(',', ';').replace('0.', '0,'),
    'tabs': dlc('scorer', 'bodyparts', 'coords').replace(',', '\t'),
    'rows in another order': '\n'.join(
        [*(lines := dlc('scorer', 'bodyparts', 'coords').splitlines())[:3], *reversed(lines[3:])]
    ),
    'SimBA, imported': FILLING * 2 + f',{FLAT}\n' + body('0123'),
    'SimBA, flat': f',{FLAT}\n' + body('0123'),
    'SimBA, no index': f'{FLAT}\n' + ''.join(','.join(map(str, row)) + '\n' for row in ROWS),
    'SLEAP': 'track,frame_idx,instance.score,nose.x,nose.y,nose.score,tail.x,tail.y,tail.score\n'
    + body([f',{t},0.7' for t in range(4)]),
}


@pytest.mark.parametrize('kind', FILES)
def test_every_header_reads_to_the_same_tracks(tmp_path, kind):
    path = tmp_path / 'pose.csv'
    path.write_bytes(FILES[kind].encode())
    tracks = read_poses(path)
    assert tracks.body_parts == ('nose', 'tail')
    assert tracks.individuals in (('individual1',), ('net',))
    want = np.array(ROWS, dtype=np.float32)[:, [0, 1, 3, 4]].reshape(4, 1, 2, 2)
    np.testing.assert_array_equal(tracks.position_TMP2, want)
    assert np.isnan(read_poses(path, min_likelihood=0.85).position_TMP2[:, 0, 1]).all()
    assert tracks.notes == ()


@pytest.mark.parametrize('encoding', ['latin1', 'utf-8-sig', 'utf-16'])
def test_names_in_other_encodings_keep_their_letters(tmp_path, encoding):
    (tmp_path / 'pose.csv').write_bytes(FILES['DeepLabCut'].replace('nose', 'näse').encode(encoding))
    assert read_poses(tmp_path / 'pose.csv').body_parts == ('näse', 'tail')


@pytest.mark.parametrize(
    ('names', 'animals', 'parts'),
    [
        ('ear_left_1,nose_1,ear_left_2,nose_2', ('1', '2'), ('ear_left', 'nose')),
        ('mouse1_nose,mouse1_tail,mouse2_nose,mouse2_tail', ('mouse1', 'mouse2'), ('nose', 'tail')),
        ('spine_1,spine_2,nose,tail', ('individual1',), ('spine_1', 'spine_2', 'nose', 'tail')),
        ('spine_1,spine_2,spine_3,tail_1', ('individual1',), ('spine_1', 'spine_2', 'spine_3', 'tail_1')),
    ],
)
def test_animals_of_flat_headers_are_told_apart_by_what_all_their_parts_carry(tmp_path, names, animals, parts):
    header = ','.join(f'{name}_{c}' for name in names.split(',') for c in 'xyp')
    (tmp_path / 'pose.csv').write_text(f'{header}\n{",".join("1" * 12)}\n')
    tracks = read_poses(tmp_path / 'pose.csv')
    assert (tracks.individuals, tracks.body_parts) == (animals, parts)


def test_features_and_labels_of_simba_are_left_out(tmp_path):
    (tmp_path / 'pose.csv').write_text(f'{FLAT},Movement_sum,Probability_p,Attack\n' + '1,2,.5,3,4,.5,abc,0.7,1\n' * 3)
    assert read_poses(tmp_path / 'pose.csv').position_TMP2.shape == (3, 1, 2, 2)


def test_more_animals_than_four_are_read(tmp_path):
    rows = [['s'] * 10, [f'm{k // 2}' for k in range(10)], ['nose'] * 10, ['x', 'y'] * 5, ['1'] * 10]
    cells = ('scorer', 'individuals', 'bodyparts', 'coords', '0')
    (tmp_path / 'pose.csv').write_text('\n'.join(','.join([c, *row]) for c, row in zip(cells, rows, strict=True)))
    assert read_poses(tmp_path / 'pose.csv').individuals == ('m0', 'm1', 'm2', 'm3', 'm4')


def test_missing_and_twin_frames_are_said(tmp_path):
    text = dlc('scorer', 'bodyparts', 'coords', indices='0146')
    (tmp_path / 'pose.csv').write_text(text + text.splitlines()[-1] + '\n')
    tracks = read_poses(tmp_path / 'pose.csv')
    assert np.isnan(tracks.position_TMP2[:, 0, 0, 0]).tolist() == [False, False, True, True, False, True, False]
    assert tracks.notes == (
        '1 rows are there twice with the same values: each counts once.',
        '3 of 7 frames are not in the file (the first is 2): they have no points.',
    )


LAST = '3,13,23,0.9,33,43,0.8'


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        (LAST, '3,13', r'pose.csv:7: 2 values, the header has 7 columns. Is the file cut off'),
        (LAST, '3,13,23,0.9,33,43,high', r"pose.csv:7: could not convert string to float: 'high'"),
        (LAST, '2,13,23,0.9,33,43,0.8', r'pose.csv: frame 2 is there twice with different values'),
        (LAST, '-1,13,23,0.9,33,43,0.8', r"pose.csv:7: '-1' is no frame number"),
        (LAST, '0.04,13,23,0.9,33,43,0.8', r"pose.csv:7: '0.04' is no frame number: .* Times in seconds"),
        (LAST, '1000000000,13,23,0.9,33,43,0.8', r"pose.csv:7: '1000000000' is no frame number"),
        (LAST, 'last,13,23,0.9,33,43,0.8', r"pose.csv:7: 'last' is neither a frame number nor a picture"),
        ('tail,tail,tail', 'nose,nose,nose', r"pose.csv: 'nose' has 2 columns x"),
        ('x,y,likelihood,x,y', 'x,y,likelihood,x,z', r"pose.csv: 'tail' has no column y"),
        (body('0123'), '', r'pose.csv: no frames in it'),
        (dlc('scorer', 'bodyparts', 'coords'), 'hello,world\n0,1\n', r'neither a table of DeepLabCut or SimBA'),
        (dlc('scorer', 'bodyparts', 'coords'), '\n \n', r'pose.csv: the file is empty'),
        (dlc('scorer', 'bodyparts', 'coords'), '\0\0\0', r'this is no text'),
    ],
)
def test_a_broken_file_is_refused_in_one_line(tmp_path, old, new, message):
    text = dlc('scorer', 'bodyparts', 'coords')
    assert old in text
    (tmp_path / 'pose.csv').write_text(text.replace(old, new))
    with pytest.raises(DataError, match=message):
        read_poses(tmp_path / 'pose.csv')


def test_sleap_has_a_row_per_animal_and_frame(tmp_path):
    header = 'track,frame_idx,instance.score,nose.x,nose.y,nose.score\n'
    (tmp_path / 'a.csv').write_text(header + 'b,0,.9,1,2,.9\na,0,.9,3,4,.1\na,2,.9,5,6,.9\n')
    tracks = read_poses(tmp_path / 'a.csv')
    assert tracks.individuals == ('b', 'a')
    np.testing.assert_array_equal(tracks.position_TMP2[:, 1, 0, 0], [3, np.nan, 5])
    np.testing.assert_array_equal(tracks.position_TMP2[:, 0, 0, 0], [1, np.nan, np.nan])
    (tmp_path / 'a.csv').write_text(header + ',0,.9,1,2,.9\n,0,.9,3,4,.1\n')
    with pytest.raises(DataError, match='frame 0 has 2 animals and no track tells them apart'):
        read_poses(tmp_path / 'a.csv')


@pytest.mark.parametrize(
    'name', ['collected_data_3col', 'float_index', 'latin1', 'pandas_noname', 'simba_imported_pose']
)
def test_files_that_once_hung_the_reader_are_read(shared_dir, name):
    assert read_poses(shared_dir / 'cases' / 'poses' / f'{name}.csv').position_TMP2.shape == (6, 1, 2, 2)


class TestHdf5:
    """With h5py: files laid out as pandas and SLEAP lay them out."""

    def pandas_table(self, path, names, values):
        import h5py

        with h5py.File(path, 'w') as file:
            group = file.create_group('df_with_missing')
            group.attrs['pandas_type'] = np.bytes_(b'frame_table')
            rows = np.zeros(len(values), dtype=[('index', '<i8'), ('values_block_0', '<f8', (values.shape[1],))])
            rows['index'], rows['values_block_0'] = range(len(values)), values
            table = group.create_dataset('table', data=rows)
            table.attrs['values_block_0_kind'] = np.bytes_(pickle.dumps(names, protocol=0))

    def test_a_table_of_deeplabcut(self, tmp_path):
        names = [('net', animal, 'nose', c) for animal in ('a', 'b') for c in COORDS]
        self.pandas_table(tmp_path / 'pose.h5', names, np.array(ROWS))
        tracks = read_poses(tmp_path / 'pose.h5', min_likelihood=0.85)
        assert (tracks.individuals, tracks.body_parts) == (('a', 'b'), ('nose',))
        assert tracks.position_TMP2[:, 0, 0].tolist() == [[10 + t, 20 + t] for t in range(4)]
        assert np.isnan(tracks.position_TMP2[:, 1]).all()

    def test_a_pickle_that_would_run_something_is_refused(self, tmp_path):
        self.pandas_table(tmp_path / 'pose.h5', print, np.array(ROWS))
        with pytest.raises(DataError, match='builtin.*print is no plain value'):
            read_poses(tmp_path / 'pose.h5')

    def test_an_analysis_file_of_sleap(self, tmp_path):
        import h5py

        tracks = np.arange(2 * 2 * 3 * 5.0).reshape(2, 2, 3, 5)
        with h5py.File(tmp_path / 'a.h5', 'w') as file:
            file['tracks'], file['node_names'], file['track_names'] = tracks, [b'n', b's', b't'], [b'a', b'b']
            file['point_scores'] = np.where(np.arange(30) == 29, 0.1, 0.9).reshape(2, 3, 5)
        found = read_poses(tmp_path / 'a.h5', min_likelihood=0.5)
        assert (found.individuals, found.body_parts) == (('a', 'b'), ('n', 's', 't'))
        assert found.position_TMP2[3, 1, 2].tolist() == tracks[1, :, 2, 3].tolist()
        assert np.isnan(found.position_TMP2).any(-1).sum() == 1

    def test_other_files_are_refused(self, tmp_path):
        import h5py

        (tmp_path / 'a.h5').write_bytes(b'no HDF5')
        with pytest.raises(DataError, match='not a readable HDF5 file'):
            read_poses(tmp_path / 'a.h5')
        with h5py.File(tmp_path / 'b.h5', 'w') as file:
            file['hello'] = 1
        with pytest.raises(DataError, match=r"no pandas table as DeepLabCut writes it; found \['hello'\]"):
            read_poses(tmp_path / 'b.h5')


def test_without_h5py_the_remedy_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'h5py', None)
    with pytest.raises(UserError, match=r"needs h5py: run `pip install .*\[tad\]'`, or export CSV"):
        read_poses(tmp_path / 'a.h5')
