//! Texts in the character sets whose bytes aren't those of UTF-8, with every edge of their code pages that MySQL can show.

use crate::conformance::case::{Case, NOT_UTF8, PLAIN, alone, both};

pub(super) const CASES: &[Case] = &[
    Case {
        table: "charset",
        columns: &[
            both("utf8_v VARCHAR(200) CHARACTER SET utf8"),
            both("ascii_v VARCHAR(200) CHARACTER SET ascii"),
            both("tis TEXT CHARACTER SET ascii"),
        ],
        rows: &["'', '', 'x'", "'zażółć €', '~', 'x'", "'ǅ', ' ', 'x'", "REPEAT('€', 200), REPEAT('c', 200), 'x'", "'plain', 'plain', 'x'"],
        ..PLAIN
    },
    Case {
        table: "charset_latin1",
        columns: &[
            both("v VARCHAR(200) CHARACTER SET latin1"),
            both("t TEXT CHARACTER SET latin1"),
            both("c CHAR(20) CHARACTER SET latin1"),
        ],
        rows: &[
            "'', '', ''",
            "'Ærø €', 'Ærø €', 'Ærø €'",
            "_latin1 x'808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2aebfc0d7dff7ff', _latin1 x'808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2aebfc0d7dff7ff', 'x'",
            "REPEAT('ü', 200), REPEAT('ü', 200), LEFT(REPEAT('ü', 200), 20)",
            "'plain', 'plain', 'plain'",
        ],
        defaults: &["a VARCHAR(20) CHARACTER SET latin1 NOT NULL DEFAULT 'plain'", "b VARCHAR(20) CHARACTER SET latin1 DEFAULT 'Ærø €'"],
        lost: Some(NOT_UTF8),
        ..PLAIN
    },
    Case {
        table: "charset_gbk",
        columns: &[both("v VARCHAR(200) CHARACTER SET gbk"), both("t TEXT CHARACTER SET gbk"), both("c CHAR(20) CHARACTER SET gbk")],
        rows: &[
            "'', '', ''",
            "'汉字测试', '汉字测试', '汉字测试'",
            "_gbk x'8140a1a1b0a1d7f9815c', _gbk x'8140a1a1b0a1d7f9815c', _gbk x'8140a1a1b0a1d7f9815c'",
            "REPEAT('汉', 200), REPEAT('汉', 200), LEFT(REPEAT('汉', 200), 20)",
            "'plain', 'plain', 'plain'",
        ],
        defaults: &["a VARCHAR(20) CHARACTER SET gbk NOT NULL DEFAULT 'plain'", "b VARCHAR(20) CHARACTER SET gbk DEFAULT '汉字测试'"],
        lost: Some(NOT_UTF8),
        ..PLAIN
    },
    Case {
        table: "charset_gb18030",
        columns: &[
            both("v VARCHAR(200) CHARACTER SET gb18030"),
            both("t TEXT CHARACTER SET gb18030"),
            both("c CHAR(20) CHARACTER SET gb18030"),
        ],
        rows: &[
            "'', '', ''",
            "'汉字🚲', '汉字🚲', '汉字🚲'",
            "_gb18030 x'8140a1a1b0a1815c81308130', _gb18030 x'8140a1a1b0a1815c81308130', _gb18030 x'8140a1a1b0a1815c81308130'",
            "REPEAT('汉', 200), REPEAT('汉', 200), LEFT(REPEAT('汉', 200), 20)",
            "'plain', 'plain', 'plain'",
        ],
        defaults: &["a VARCHAR(20) CHARACTER SET gb18030 NOT NULL DEFAULT 'plain'", "b VARCHAR(20) CHARACTER SET gb18030 DEFAULT '汉字🚲'"],
        lost: Some(NOT_UTF8),
        ..PLAIN
    },
    Case {
        table: "charset_sjis",
        columns: &[both("v VARCHAR(200) CHARACTER SET sjis"), both("t TEXT CHARACTER SET sjis"), both("c CHAR(20) CHARACTER SET sjis")],
        rows: &[
            "'', '', ''",
            "'日本語ｶﾅ', '日本語ｶﾅ', '日本語ｶﾅ'",
            "_sjis x'815f8140b1df', _sjis x'815f8140b1df', _sjis x'815f8140b1df'",
            "REPEAT('あ', 200), REPEAT('あ', 200), LEFT(REPEAT('あ', 200), 20)",
            "'plain', 'plain', 'plain'",
        ],
        defaults: &["a VARCHAR(20) CHARACTER SET sjis NOT NULL DEFAULT 'plain'", "b VARCHAR(20) CHARACTER SET sjis DEFAULT '日本語ｶﾅ'"],
        lost: Some(NOT_UTF8),
        ..PLAIN
    },
    Case {
        table: "charset_cp932",
        columns: &[both("v VARCHAR(200) CHARACTER SET cp932"), both("t TEXT CHARACTER SET cp932"), both("c CHAR(20) CHARACTER SET cp932")],
        rows: &[
            "'', '', ''",
            "'日本語①', '日本語①', '日本語①'",
            "_cp932 x'8740815f', _cp932 x'8740815f', _cp932 x'8740815f'",
            "REPEAT('あ', 200), REPEAT('あ', 200), LEFT(REPEAT('あ', 200), 20)",
            "'plain', 'plain', 'plain'",
        ],
        defaults: &["a VARCHAR(20) CHARACTER SET cp932 NOT NULL DEFAULT 'plain'", "b VARCHAR(20) CHARACTER SET cp932 DEFAULT '日本語①'"],
        lost: Some(NOT_UTF8),
        ..PLAIN
    },
    Case {
        table: "charset_ujis",
        columns: &[both("v VARCHAR(200) CHARACTER SET ujis"), both("t TEXT CHARACTER SET ujis"), both("c CHAR(20) CHARACTER SET ujis")],
        rows: &[
            "'', '', ''",
            "'日本語', '日本語', '日本語'",
            "_ujis x'a4a2a4a4', _ujis x'a4a2a4a4', _ujis x'a4a2a4a4'",
            "REPEAT('あ', 200), REPEAT('あ', 200), LEFT(REPEAT('あ', 200), 20)",
            "'plain', 'plain', 'plain'",
        ],
        defaults: &["a VARCHAR(20) CHARACTER SET ujis NOT NULL DEFAULT 'plain'", "b VARCHAR(20) CHARACTER SET ujis DEFAULT '日本語'"],
        lost: Some(NOT_UTF8),
        ..PLAIN
    },
    Case {
        table: "charset_big5",
        columns: &[both("v VARCHAR(200) CHARACTER SET big5"), both("t TEXT CHARACTER SET big5"), both("c CHAR(20) CHARACTER SET big5")],
        rows: &[
            "'', '', ''",
            "'漢字', '漢字', '漢字'",
            "_big5 x'a440a45cf9d5', _big5 x'a440a45cf9d5', _big5 x'a440a45cf9d5'",
            "REPEAT('字', 200), REPEAT('字', 200), LEFT(REPEAT('字', 200), 20)",
            "'plain', 'plain', 'plain'",
        ],
        defaults: &["a VARCHAR(20) CHARACTER SET big5 NOT NULL DEFAULT 'plain'", "b VARCHAR(20) CHARACTER SET big5 DEFAULT '漢字'"],
        lost: Some(NOT_UTF8),
        ..PLAIN
    },
    Case {
        table: "charset_euckr",
        columns: &[both("v VARCHAR(200) CHARACTER SET euckr"), both("t TEXT CHARACTER SET euckr"), both("c CHAR(20) CHARACTER SET euckr")],
        rows: &[
            "'', '', ''",
            "'한국어', '한국어', '한국어'",
            "_euckr x'b0a1c8fe', _euckr x'b0a1c8fe', _euckr x'b0a1c8fe'",
            "REPEAT('한', 200), REPEAT('한', 200), LEFT(REPEAT('한', 200), 20)",
            "'plain', 'plain', 'plain'",
        ],
        defaults: &["a VARCHAR(20) CHARACTER SET euckr NOT NULL DEFAULT 'plain'", "b VARCHAR(20) CHARACTER SET euckr DEFAULT '한국어'"],
        lost: Some(NOT_UTF8),
        ..PLAIN
    },
    Case {
        table: "charset_cp1251",
        columns: &[
            both("v VARCHAR(200) CHARACTER SET cp1251"),
            both("t TEXT CHARACTER SET cp1251"),
            both("c CHAR(20) CHARACTER SET cp1251"),
        ],
        rows: &[
            "'', '', ''",
            "'Привет', 'Привет', 'Привет'",
            "_cp1251 x'a8b8c0ff80', _cp1251 x'a8b8c0ff80', _cp1251 x'a8b8c0ff80'",
            "REPEAT('ж', 200), REPEAT('ж', 200), LEFT(REPEAT('ж', 200), 20)",
            "'plain', 'plain', 'plain'",
        ],
        defaults: &["a VARCHAR(20) CHARACTER SET cp1251 NOT NULL DEFAULT 'plain'", "b VARCHAR(20) CHARACTER SET cp1251 DEFAULT 'Привет'"],
        lost: Some(NOT_UTF8),
        ..PLAIN
    },
    Case {
        table: "charset_koi8r",
        columns: &[both("v VARCHAR(200) CHARACTER SET koi8r"), both("t TEXT CHARACTER SET koi8r"), both("c CHAR(20) CHARACTER SET koi8r")],
        rows: &[
            "'', '', ''",
            "'Привет', 'Привет', 'Привет'",
            "_koi8r x'c0ffa3b3', _koi8r x'c0ffa3b3', _koi8r x'c0ffa3b3'",
            "REPEAT('я', 200), REPEAT('я', 200), LEFT(REPEAT('я', 200), 20)",
            "'plain', 'plain', 'plain'",
        ],
        defaults: &["a VARCHAR(20) CHARACTER SET koi8r NOT NULL DEFAULT 'plain'", "b VARCHAR(20) CHARACTER SET koi8r DEFAULT 'Привет'"],
        lost: Some(NOT_UTF8),
        ..PLAIN
    },
    Case {
        table: "charset_latin2",
        columns: &[
            both("v VARCHAR(200) CHARACTER SET latin2"),
            both("t TEXT CHARACTER SET latin2"),
            both("c CHAR(20) CHARACTER SET latin2"),
        ],
        rows: &[
            "'', '', ''",
            "'Łódź', 'Łódź', 'Łódź'",
            "_latin2 x'a1b1ff', _latin2 x'a1b1ff', _latin2 x'a1b1ff'",
            "REPEAT('ő', 200), REPEAT('ő', 200), LEFT(REPEAT('ő', 200), 20)",
            "'plain', 'plain', 'plain'",
        ],
        defaults: &["a VARCHAR(20) CHARACTER SET latin2 NOT NULL DEFAULT 'plain'", "b VARCHAR(20) CHARACTER SET latin2 DEFAULT 'Łódź'"],
        lost: Some(NOT_UTF8),
        ..PLAIN
    },
    Case {
        table: "charset_greek",
        columns: &[both("v VARCHAR(200) CHARACTER SET greek"), both("t TEXT CHARACTER SET greek"), both("c CHAR(20) CHARACTER SET greek")],
        rows: &[
            "'', '', ''",
            "'Ελλάδα', 'Ελλάδα', 'Ελλάδα'",
            "_greek x'c1e1fe', _greek x'c1e1fe', _greek x'c1e1fe'",
            "REPEAT('ω', 200), REPEAT('ω', 200), LEFT(REPEAT('ω', 200), 20)",
            "'plain', 'plain', 'plain'",
        ],
        defaults: &["a VARCHAR(20) CHARACTER SET greek NOT NULL DEFAULT 'plain'", "b VARCHAR(20) CHARACTER SET greek DEFAULT 'Ελλάδα'"],
        lost: Some(NOT_UTF8),
        ..PLAIN
    },
    Case {
        table: "charset_hebrew",
        columns: &[
            both("v VARCHAR(200) CHARACTER SET hebrew"),
            both("t TEXT CHARACTER SET hebrew"),
            both("c CHAR(20) CHARACTER SET hebrew"),
        ],
        rows: &[
            "'', '', ''",
            "'שלום', 'שלום', 'שלום'",
            "_hebrew x'e0fa', _hebrew x'e0fa', _hebrew x'e0fa'",
            "REPEAT('א', 200), REPEAT('א', 200), LEFT(REPEAT('א', 200), 20)",
            "'plain', 'plain', 'plain'",
        ],
        defaults: &["a VARCHAR(20) CHARACTER SET hebrew NOT NULL DEFAULT 'plain'", "b VARCHAR(20) CHARACTER SET hebrew DEFAULT 'שלום'"],
        lost: Some(NOT_UTF8),
        ..PLAIN
    },
    Case {
        table: "charset_ucs2",
        columns: &[
            alone("v VARCHAR(200) CHARACTER SET ucs2", NOT_UTF8),
            alone("t TEXT CHARACTER SET ucs2", NOT_UTF8),
            alone("c CHAR(20) CHARACTER SET ucs2", NOT_UTF8),
        ],
        rows: &[
            "'', '', ''",
            "'日本', '日本', '日本'",
            "_ucs2 x'0041d7ff', _ucs2 x'0041d7ff', _ucs2 x'0041d7ff'",
            "REPEAT('é', 200), REPEAT('é', 200), LEFT(REPEAT('é', 200), 20)",
            "'plain', 'plain', 'plain'",
        ],
        defaults: &["a VARCHAR(20) CHARACTER SET ucs2 NOT NULL DEFAULT 'plain'", "b VARCHAR(20) CHARACTER SET ucs2 DEFAULT '日本'"],
        lost: Some(NOT_UTF8),
        ..PLAIN
    },
    Case {
        table: "charset_utf16",
        columns: &[
            alone("v VARCHAR(200) CHARACTER SET utf16", NOT_UTF8),
            alone("t TEXT CHARACTER SET utf16", NOT_UTF8),
            alone("c CHAR(20) CHARACTER SET utf16", NOT_UTF8),
        ],
        rows: &[
            "'', '', ''",
            "'🚲 ok', '🚲 ok', '🚲 ok'",
            "_utf16 x'd83ddeb20041', _utf16 x'd83ddeb20041', _utf16 x'd83ddeb20041'",
            "REPEAT('🚲', 200), REPEAT('🚲', 200), LEFT(REPEAT('🚲', 200), 20)",
            "'plain', 'plain', 'plain'",
        ],
        defaults: &["a VARCHAR(20) CHARACTER SET utf16 NOT NULL DEFAULT 'plain'", "b VARCHAR(20) CHARACTER SET utf16 DEFAULT '🚲 ok'"],
        lost: Some(NOT_UTF8),
        ..PLAIN
    },
    Case {
        table: "charset_utf16le",
        columns: &[
            alone("v VARCHAR(200) CHARACTER SET utf16le", NOT_UTF8),
            alone("t TEXT CHARACTER SET utf16le", NOT_UTF8),
            alone("c CHAR(20) CHARACTER SET utf16le", NOT_UTF8),
        ],
        rows: &[
            "'', '', ''",
            "'🚲 ok', '🚲 ok', '🚲 ok'",
            "_utf16le x'3dd8b2de4100', _utf16le x'3dd8b2de4100', _utf16le x'3dd8b2de4100'",
            "REPEAT('é', 200), REPEAT('é', 200), LEFT(REPEAT('é', 200), 20)",
            "'plain', 'plain', 'plain'",
        ],
        defaults: &["a VARCHAR(20) CHARACTER SET utf16le NOT NULL DEFAULT 'plain'", "b VARCHAR(20) CHARACTER SET utf16le DEFAULT '🚲 ok'"],
        lost: Some(NOT_UTF8),
        ..PLAIN
    },
    Case {
        table: "charset_utf32",
        columns: &[
            alone("v VARCHAR(200) CHARACTER SET utf32", NOT_UTF8),
            alone("t TEXT CHARACTER SET utf32", NOT_UTF8),
            alone("c CHAR(20) CHARACTER SET utf32", NOT_UTF8),
        ],
        rows: &[
            "'', '', ''",
            "'🚲', '🚲', '🚲'",
            "_utf32 x'0001f6b2', _utf32 x'0001f6b2', _utf32 x'0001f6b2'",
            "REPEAT('b', 200), REPEAT('b', 200), LEFT(REPEAT('b', 200), 20)",
            "'plain', 'plain', 'plain'",
        ],
        defaults: &["a VARCHAR(20) CHARACTER SET utf32 NOT NULL DEFAULT 'plain'", "b VARCHAR(20) CHARACTER SET utf32 DEFAULT '🚲'"],
        lost: Some(NOT_UTF8),
        ..PLAIN
    },
];
