"""``python -m mmopt TOOL``: the command ``mmopt``, for launchers that start a module."""

import sys

from mmopt.apis.commands import main

if __name__ == '__main__':
    sys.exit(main())
