"""Throughput of exported models: turns, ratios within a round, the table."""

import torch
from torch import nn

from mmopt.apis.bench import exported
from mmopt.apis.bench.exported import throughput_table, time_in_turns
from mmopt.apis.export.export import export_graph


def test_runs_take_turns_there_and_back_and_warm_ups_do_not_count():
    asked = []
    runs = {name: lambda name=name: asked.append(name) for name in 'abc'}
    taken_s = time_in_turns(runs, rounds=2, warmup=1)
    assert ''.join(asked) == 'abc' + 'cba' + 'abc'
    assert {name: len(values) for name, values in taken_s.items()} == dict(a=2, b=2, c=2)


class Shift(nn.Module):
    def forward(self, inputs, data_samples=None, mode='tensor'):
        return inputs + 1


def test_the_table_has_medians_and_speeds_within_a_round(tmp_path, monkeypatch):
    made = export_graph(Shift(), torch.ones(4, 3), None, tmp_path / 'model.pt2')
    assert torch.equal(made.run_graph()[0], made.run_model()[0])
    # The machine is three times slower in the second round: the ratio stays.
    taken = {'model': [0.1, 0.3, 0.1], "torch.export's archive": [0.05, 0.15, 0.04]}
    monkeypatch.setattr(exported, 'time_in_turns', lambda runs, rounds, warmup: {name: taken[name] for name in runs})
    assert throughput_table([made], rounds=3).splitlines()[2:] == [
        '| model | 4 | 100.0 | 40.0 | 1.00x |',
        "| torch.export's archive | 4 | 50.0 | 80.0 | 2.00x (2.00x - 2.50x) |",
    ]
