"""Cutting functions into prompt and body."""

from __future__ import annotations

from harness.data.functions import functions_of, parses

MODULE = '''
class Thing:
    @property
    def size(self,
             scale=1):
        r"""Return the \\size.

        More about it.
        """

        # why
        if scale:
            return self.x * scale

        return 0

    def bare(self): return 1

def outer():
    """Outer."""
    def inner():
        """Inner."""
        return 2
    return inner
'''


def test_signature_first_paragraph_and_dedented_body() -> None:
    size, outer = functions_of("m.py", MODULE)
    assert size.prompt == 'def size(self,\n         scale=1):\n    r"""Return the \\size."""\n'
    assert size.body == "    # why\n    if scale:\n        return self.x * scale\n\n    return 0"
    assert parses(size) and parses(outer)
    assert outer.name == "outer" and "def inner" in outer.body


def test_long_docstring_is_cut_at_a_word() -> None:
    (function,) = functions_of("m.py", f'def f():\n    """{"word " * 200}"""\n    return 1\n')
    assert len(function.paragraph) <= 400
    assert function.paragraph.endswith("word")


def test_same_body_is_seen_through_white_space() -> None:
    one, two = functions_of("m.py", "def f():\n    return [1,2]\n\ndef g():\n    return [1, 2]\n")
    assert one.normalised_body == two.normalised_body


def test_string_that_dedenting_breaks_does_not_parse() -> None:
    text = 'class A:\n    def f(self):\n        """Doc."""\n        return """\nat the margin\n    """ + \\\n1\n'
    (function,) = functions_of("m.py", text)
    assert parses(function)
