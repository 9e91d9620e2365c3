"""What an enemy writes into cells, headers, names of members, and names of files."""

import unicodedata
from collections.abc import Mapping

_C0 = [chr(each) for each in range(0x20)]
_C1 = [chr(each) for each in range(0x80, 0xA0)]

STRINGS: Mapping[str, list[str]] = {
    "markup": [
        *("[red]x[/red]", "[/]", "[/a/b]", "[abc]", "[bold", "]", "\\[x]", "[link=http://x.example]y[/link]", "[[[["),
        *("[blink]x", "[@click=app.bell]x[/]", "[on red]", "[#ff0000]x[/]", "[conceal]x[/conceal]"),
    ],
    "emoji codes": [":smile:", ":warning:", ":pile_of_poo: :x:", ":thumbs_up-text:", "::", ":red_heart-emoji:"],
    "escape sequences": [
        *("\x1b[35;5mblink", "\x1b[8mhidden\x1b[28m", "\x1b[2J\x1b[H", "\x1b[3J", "\x1b[6n", "\x1b[c", "\x1b[21t"),
        *(
            "\x1b[?1049h",
            "\x1b[?1000h",
            "\x1b[5i",
            "\x1bc",
            "\x1b(0",
            "\x1b#8",
            "\x1b[1;1r",
            "\x1b[9999C",
            "\x1b7\x1b8",
        ),
        *('\x1bP$q"p\x1b\\', "\x1b_Gf=100;AAAA\x1b\\", "\x1b^x\x1b\\", "\x1bX x\x1b\\", "\x1b[", "\x1b", "\x1b\x1b[A"),
        *("\x1b[200~x\x1b[201~", "\x1b[1A\x1b[2K\x1b[31m\x1b[0m\x1b[?25l", "\x1b[38;2;1;2;3mx"),
    ],
    "OSC": [
        *("\x1b]8;;http://x.example\x1b\\text\x1b]8;;\x1b\\", "\x1b]8;;file:///etc/passwd\x07x\x1b]8;;\x07"),
        *(
            "\x1b]52;c;cm0gLXJmIH4=\x07",
            "\x1b]52;c;?\x1b\\",
            "\x1b]0;title\x07",
            "\x1b]2;title\x1b\\",
            "\x1b]4;1;?\x07",
        ),
        *("\x1b]9;notice\x07", "\x1b]777;notify;a;b\x07", "\x1b]1337;File=inline=1:AAAA\x07", "\x1b]50;font\x07"),
    ],
    "C0": [f"a{each}b" for each in _C0],
    "C1": [f"a{each}b" for each in [*_C1, "\x7f"]] + ["\x9b35;5m", "\x9d0;title\x9c", "\x90q\x9c", "\x9d52;c;eA==\x07"],
    "bidi": [f"a{each}b" for each in "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"]
    + ["\u202etxt.exe", "invoice\u202efdp.exe"],
    "zero-width": [
        f"a{each}b" for each in "\u00ad\u034f\u180e\u200b\u200c\u200d\u2060\u2063\ufe0f\ufeff\U000e0041\u2028\u2029"
    ],
    "wide": [
        *("\u540d\u524d", "\uff21\uff22", "\U0001f642", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\ufdfa\ufdfb"),
        *(
            "Z\u0351\u036b\u0343\u036a\u0302\u036b",
            "\u0e33\u0e33",
            "\ue000",
            "\ufffe",
            "\uffff",
            "\U0010ffff",
            "\u2800",
        ),
        *("\u3000x", "\u1100\u1161\u11a8", "\U0001f1e9\U0001f1ea", "\ufffd"),
    ],
    "formulas": [
        *("=1+1", "=cmd|' /C calc'!A0", "@SUM(1)", "+1+1", "-1+1", "\t=1+1", "\r=1+1", "\n=1+1", "\uff1d1+1"),
        *('=HYPERLINK("http://x.example","y")', '=IMPORTXML("http://x.example";"//a")', "'=1+1", "%0A=1", 'DDE("a")'),
    ],
    "SQL": [
        *("'; DROP TABLE users; --", '"; DROP TABLE users; --', "x'); ATTACH 'evil.db' AS e; --", "' OR '1'='1"),
        *('"', "'", "`", "``", "[users]", "?", "?1", ":name", "@x", "$x", "%s", "NULL", "x' || load_extension('y')"),
        *("1); PRAGMA journal_mode=OFF; --", "/*", "*/", "--", ";", "\\'", "_", "%", "CAST(1 AS BLOB)", "rowid"),
    ],
    "paths": [
        *("../../etc/passwd", "/etc/passwd", "..", ".", "~root", "a/../../b", "C:\\x", "\\\\host\\x", "CON", "NUL:"),
        *("file:///etc/passwd", "users.db", "users.db-wal", "a\0b", "../x\0.csv", "%2e%2e%2f", "....//", "-", "--into"),
    ],
    "templates": [
        "{0}",
        "{x.__class__}",
        "%n%s",
        "$(id)",
        "`id`",
        "${HOME}",
        "{{7*7}}",
        "\\x1b[31m",
        "<b>x</b>",
        "&lt;",
    ],
    "surrogates": ["a\ud800b", "\udc00", "\udcff\udcfe", "\ud83d", "\ude00\ud83d"],
}
ALL = list(dict.fromkeys(each for family in STRINGS.values() for each in family))


def is_whole(text: str) -> bool:
    """Whether there is no half of a surrogate pair in it."""
    return not any(unicodedata.category(each) == "Cs" for each in text)


def is_text(text: str) -> bool:
    """Whether a field of text may hold it: no control character but tab and newlines, no lone surrogate."""
    return not any(unicodedata.category(each) in ("Cc", "Cs") and each not in "\t\n\r" for each in text)


def is_harmless(text: str) -> bool:
    """Whether none of it commands a terminal, or is not to be seen there."""
    return all(unicodedata.category(each) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") for each in text)
