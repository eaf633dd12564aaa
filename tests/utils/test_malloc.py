from mmopt.utils import malloc
from mmopt.utils.malloc import keep_freed_pages


def test_all_three_options_are_set_with_glibc(monkeypatch):
    calls = {}

    class Libc:
        @staticmethod
        def mallopt(option: int, value: int) -> int:
            calls[option] = value
            return 1

    monkeypatch.setattr(malloc, 'is_glibc', lambda: True)
    monkeypatch.setattr(malloc, 'c_library', lambda: Libc)
    assert keep_freed_pages() is True
    assert calls == {-1: -1, -2: 256 * 1024**2, -4: 0}


def test_says_that_nothing_happened_without_glibc(monkeypatch):
    monkeypatch.setattr(malloc, 'is_glibc', lambda: False)
    assert keep_freed_pages() is False
