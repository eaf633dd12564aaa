"""The namespace and the contracts of mmcv 1.x, for code that was written for it.

A layer between what mmopt is (engine, models, data sets, evaluation) and the tools that use it: it adapts others'
code to our contracts, never ours to theirs. Nothing below imports it, and importing it changes nothing: ``mmopt.apis``
switches it on when a config needs it.
"""
