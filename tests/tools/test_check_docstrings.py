import pytest

from tests.conftest import load_script


@pytest.fixture(scope='module')
def check():
    return load_script('tools/dev/check_docstrings.py')


@pytest.fixture
def faults(check, tmp_path):
    def find(source: str) -> list[str]:
        path = tmp_path / 'module.py'
        path.write_text(source)
        return check.check_file(path)

    return find


FUNCTION = '''
def resize(image, size, *rest, fill=0, **others) -> int:
    """Change the size.

    Args:
{entries}

    Returns:
        Something.
    """
    return 1
'''


def entries(*lines: str) -> str:
    return FUNCTION.format(entries='\n'.join(f'        {line}' for line in lines))


@pytest.mark.parametrize(
    'lines',
    [
        ('size: Height and width.',),
        ('image: uint8 (H, W, 3),', '    or float.', 'fill: Of 255.'),
        ('size: Height and width.', '*rest: Left alone.', 'fill: Gray level.', '**others: Passed on.'),
    ],
)
def test_self_evident_arguments_may_be_left_out(faults, lines):
    assert faults(entries(*lines)) == []


@pytest.mark.parametrize(
    ('lines', 'says'),
    [
        (('sizes: Height and width.',), 'sizes is no argument; there are image, size, *rest, fill, **others'),
        (('rest: Left alone.',), 'rest is no argument'),
        (('size: Height, width.', 'image: uint8.'), 'in another order than the signature: size, image'),
        (('size: Height, width.', 'size: Again.'), 'documented twice'),
        (('image: The image.',), 'only repeats the name'),
        (('**others: Others.',), 'only repeats the name'),
    ],
)
def test_documented_arguments_exist_once_in_order_and_say_something(faults, lines, says):
    (fault,) = faults(entries(*lines))
    assert says in fault
    assert fault.split(': ')[0].endswith('module.py:2')


def test_a_section_that_documents_nothing_is_refused(faults):
    assert 'documents nothing' in faults('def f(x):\n    """Do.\n\n    Args:\n    """\n')[0]


@pytest.mark.parametrize(
    ('source', 'says'),
    [
        (
            'def f(x):\n    """Do.\n\n    Args:\n        x: In cm.\n    """\n    return x\n',
            'none says what is returned',
        ),
        ('def f(x):\n    """Do.\n\n    Returns:\n        It.\n    """\n', 'nothing is returned'),
        ('def f(x):\n    """Do.\n\n    Yields:\n        It.\n    """\n', 'nothing is yielded'),
    ],
)
def test_what_is_returned_is_documented_and_nothing_else(faults, source, says):
    assert says in faults(source)[0]


@pytest.mark.parametrize(
    'source',
    [
        'def f(x):\n    """Return it."""\n    return x\n',
        'def f(x):\n    """Do.\n\n    Args:\n        x: In cm.\n    """\n    def g():\n        return x\n',
        'def f(x):\n    """Do.\n\n    Args:\n        x: In cm.\n    """\n    return None\n',
        'class C:\n    """It.\n\n    Args:\n        x: In cm.\n    """\n    def __init__(self, x): ...\n',
        'class C(Base):\n    """It.\n\n    Args:\n        x: Of the base, in cm.\n    """\n',
    ],
)
def test_what_agrees_is_no_fault(faults, source):
    assert faults(source) == []


def test_arguments_of_a_class_are_those_of_its_constructor(faults):
    source = 'class C:\n    """It.\n\n    Args:\n        y: In cm.\n    """\n    def __init__(self, x): ...\n'
    assert 'y is no argument; there are x' in faults(source)[0]


def test_the_exit_code_tells_whether_there_are_faults(check, tmp_path, capsys):
    path = tmp_path / 'module.py'
    path.write_text(entries('size: Height and width.'))
    assert check.main([str(tmp_path)]) == 0
    path.write_text(entries('image: The image.'))
    assert check.main([str(tmp_path)]) == 1
    assert 'resize: Args: "image: The image." only repeats the name' in capsys.readouterr().out
