"""tools/predict.py on sources that are no pictures, as users call it."""

from pathlib import Path

import pytest

from mmopt.registry import DATASETS
from mmopt.utils.errors import UserError
from tests.apis.predict.track_files import WRITERS, made_up_tracks
from tests.apis.predict.trained import Trained
from tests.apis.predict.trained_recordings import make_behaviors, read_json


@pytest.fixture(scope='module')
def behaviors(tmp_path_factory) -> Trained:
    return make_behaviors(tmp_path_factory.mktemp('behaviors'))


def test_tracks_are_predicted_with_what_their_flags_say(tool, behaviors, tmp_path, capsys):
    WRITERS['simba.csv'](Path('a b.csv'), made_up_tracks())
    command = [behaviors.checkpoint, 'a b.csv', '--out', 'out', '--pix-per-cm', '4', '--format', 'csv', 'totals']
    with pytest.raises(UserError, match='say --fps'):
        tool('predict').main(command)
    flags = ['--fps', '25', '--behaviors', 'pair,attack', 'self,rear', '--parts', 'neck=body_center']
    assert tool('predict').main([*command, *flags]) == 0
    assert '1 recordings predicted, 0 skipped' in capsys.readouterr().out
    said = read_json(tmp_path / 'out' / 'predictions.json')['source_options']
    assert said == dict(
        pix_per_cm='4', behaviors=['pair,attack', 'self,rear'], parts=['neck=body_center'], fps=25.0
    )  # fmt: skip
    assert len((tmp_path / 'out' / 'totals.csv').read_text().splitlines()) == 1 + 2 + 2
    with pytest.raises(UserError, match='another source_options'):
        tool('predict').main([*command, '--fps', '30'])


def test_a_command_without_a_source_is_one_line(tool, behaviors):
    with pytest.raises(UserError, match='There is no source: name pictures, films, tracks'):
        tool('predict').main([behaviors.checkpoint, '--out', 'out'])


def test_broken_tracks_give_exit_code_3(tool, behaviors, tmp_path):
    Path('torn.csv').write_text('')
    command = [behaviors.checkpoint, 'torn.csv', *behaviors.pictures[:1], '--format', 'json', '--out', 'out']
    assert tool('predict').main(command) == 3
    assert len(read_json(tmp_path / 'out' / 'predictions.json')['skipped']) == 1


def test_every_flag_for_sources_is_taken_by_a_data_set_class(tool):
    module = tool('predict')
    flags = {flag.removeprefix('--').replace('-', '_') for group in module.SOURCE_FLAGS.values() for flag in group}
    taken = {name for kind in DATASETS.module_dict.values() for name in getattr(kind, 'predict_options', ())}
    assert flags | {'fps'} == taken
    said = ['--view', 'front=a', 'left=b', '--intrinsics', '1,2,3,4', '--window-s', '2', '--segments', 'x.csv']
    args = module.parse_args(['model.pth', '--out', 'out', *said])
    assert (args.view, args.intrinsics, args.window_s) == (['front=a', 'left=b'], '1,2,3,4', '2')
