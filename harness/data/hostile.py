"""Texts that tokenizers are known to lose: fixed strings by category, every one worth a sentence of its own.

A round trip through encode and decode must give them back exactly; where it does not, that is a loss to be counted.
"""

from __future__ import annotations

LONG = 20_000

HOSTILE: dict[str, tuple[str, ...]] = {
    # Joined sequences, skin tones, flags, variation selectors, keycaps, tags: one picture, many code points.
    "emoji": (
        "\U0001f469\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466", "\U0001f44d\U0001f3fd\U0001f44d\U0001f3ff",
        "\U0001f1f9\U0001f1f7\U0001f1ec\U0001f1e7", "\u2764\ufe0f \u2764\ufe0e", "1\ufe0f\u20e3#\ufe0f\u20e3",
        "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", "a\U0001f600b\U0001f600\U0001f600c",
    ),
    # The same letters composed and decomposed, stacked marks, a mark on nothing, conjoining Hangul.
    "combining marks": (
        "e\u0301 \xe9", "\u0130stanbul i\u0307",
        "Z\u0337\u0322\u031b\u0353\u034e\u0351a\u0338\u035dl\u0335g\u0334\u01a1\u0336", "\u0301lone",
        "\uac01 \u1100\u1161\u11a8", "\u0e43\u0e15\u0e49\u0e17\u0e35\u0e48", "\xe5 \xc5 \u212b",
    ),
    # Scripts side by side, both directions, no spaces between words, characters outside the basic plane.
    "mixed scripts": (
        "\u041f\u0440\u0438\u0432\u0435\u0442\u4e16\u754c\u0645\u0631\u062d\u0628\u0627",
        "\u05e9\u05dc\u05d5\u05dd abc \u05e2\u05d5\u05dc\u05dd 123",
        "\u0928\u092e\u0938\u094d\u0924\u0947 \u0926\u0941\u0928\u093f\u092f\u093e",
        "\u65e5\u672c\u8a9e\u3068English\u306e\u6df7\u5728", "\u0131\u011f\xfc\u015f\xf6\xe7\u0130 \u011e",
        "\U0001d518\U0001d52b\U0001d526\U0001d520\U0001d52c\U0001d521\U0001d522 \U00013000\U00012000",
        "\ufb01 \ufb00 \u2460 \u338f \xb2",
    ),
    # C0 and C1 controls, zero-width and direction marks, byte order mark, non-characters, replacement character.
    "control characters": (
        "a\x00b", "\x01\x02\x07\x1b[31m", "\x7f\x80\x85\x9f", "a\u200bb\u200c\u200d", "\u202eabc\u202c", "\ufeffBOM",
        "\uffff\ufffe\ufffd", "\u2028\u2029",
    ),
    # Space, tab and line-end runs, every kind of space, at the front and at the end.
    "white space": (
        "  two", "two  ", "a   b\t\tc", "\n\n\na\n\n", "a\r\nb\rc", " ", "\t", "\n", "\xa0\u2003\u3000x",
        "    if x:\n\t\treturn\n",
    ),
    # What special tokens and markers look like when they stand in a text.
    "marker look-alikes": (
        "<|endoftext|>", "<s></s><unk><pad>", "[CLS][MASK][UNK]", "\u2581a\u2581\u2581b",
        "##ing @@ </w> \u0120x \u010a", "<0x0A><0xFF>",
    ),
    # Longer than any limit on a word that a tokenizer has.
    "very long words": (
        "a" * LONG, "ab" * (LONG // 2), "\u011f" * (LONG // 2), "1234567890" * (LONG // 10), "=" * LONG,
    ),
    # Half of a UTF-16 pair: a Python string may hold it, UTF-8 may not.
    "invalid surrogates": (
        "\ud800", "a\udfffb", "\udc00\ud800",
    ),
}  # fmt: skip
