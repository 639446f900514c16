//! JSON: every kind of value inside and alone, in the server's order of keys, in its small and its large form.

use crate::conformance::case::{Case, NO_JSON, PLAIN, alone};

pub(super) const CASES: &[Case] = &[
    Case {
        table: "json",
        columns: &[alone("j JSON", NO_JSON)],
        rows: &[
            "'{}'",
            "'[]'",
            "'{\"b\": 1, \"aa\": [1, 2.5, \"x\", null, true, false, {}, []], \"a\": {\"nested\": {\"deep\": [[[]]]}}}'",
            "'{\"\": \"\", \"quote\\\\\"d\": \"a\\\\\\\\b\\\\/c\\\\b\\\\f\\\\n\\\\r\\\\t\\\\u0001 🚲 é\"}'",
            "JSON_OBJECT('date', CAST('2024-02-29' AS DATE), 'time', CAST('-25:30:15.123456' AS TIME(6)), 'datetime', CAST('1000-01-01 00:00:00' AS DATETIME), 'six', CAST('2024-02-29 01:02:03.000004' AS DATETIME(6)))",
            "JSON_OBJECT('decimal', CAST(1.10 AS DECIMAL(10,2)), 'long', CAST(-12345678901234567890.123456789012345678901234567890 AS DECIMAL(60,30)), 'zero', CAST(0 AS DECIMAL(5,3)))",
            "JSON_OBJECT('bytes', CAST(x'00ff10' AS JSON), 'bits', CAST(b'101' AS JSON))",
            "JSON_OBJECT('max', 18446744073709551615, 'min', -9223372036854775808, 'i16', 32767, 'n16', -32768, 'u16', 65535, 'i32', -2147483648, 'u32', 4294967295, 'i64', 9223372036854775807)",
            "JSON_ARRAY(1.0, 0.1, 1e100, -0e0, 1e-7, 1.5e300, 123456789.125, 1e15, 1e16, 1e22, 100e0, 5e-324, 2e0 / 3e0, 1.7976931348623157e308)",
            "JSON_OBJECT('large', REPEAT('x', 70000), 'many', JSON_ARRAY(1, 2), 'text', REPEAT('🚲', 200))",
            "CONCAT('[', REPEAT('[', 90), REPEAT(']', 90), ']')",
            "CONCAT('{\"k\": [0', REPEAT(', 1.5, \"ab\", {\"z\": -1}', 5000), ']}')",
            "'{\"z\": 1, \"a\": 2, \"bb\": 3, \"aa\": 4, \"é\": 5, \"\": 6, \"ccc\": 7}'",
            "JSON_OBJECT('geo', ST_AsGeoJSON(POINT(1, 2)), 'short', REPEAT('s', 127), 'longer', REPEAT('l', 128), 'long', REPEAT('g', 16384))",
        ],
        ..PLAIN
    },
    Case {
        table: "json_alone",
        columns: &[alone("j JSON", NO_JSON)],
        rows: &[
            "'null'",
            "'true'",
            "'false'",
            "'0'",
            "'-1'",
            "'9223372036854775807'",
            "'-9223372036854775808'",
            "'18446744073709551615'",
            "'1.0'",
            "'0.1'",
            "'\"\"'",
            "'\"text 🚲\"'",
            "CAST(CAST('2024-02-29' AS DATE) AS JSON)",
            "CAST(CAST('838:59:59' AS TIME) AS JSON)",
            "CAST(CAST('2024-02-29 01:02:03.5' AS DATETIME(6)) AS JSON)",
            "CAST(CAST(-1.50 AS DECIMAL(10,2)) AS JSON)",
            "CAST(x'c328' AS JSON)",
            "CAST(TIMESTAMP('2024-02-29 01:02:03') AS JSON)",
            "CAST(POINT(1, 2) AS JSON)",
        ],
        ..PLAIN
    },
];
