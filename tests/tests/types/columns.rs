//! The columns, and the rows that are their edges.

/// Columns that belong together, and rows for them.
pub(super) struct Family {
    /// What the tables' names begin with.
    pub name: &'static str,
    /// The `sql_mode` that lets the rows in.
    pub sql_mode: &'static str,
    /// Definitions; all may be NULL.
    pub columns: &'static [&'static str],
    /// Values, as SQL.
    pub rows: &'static [&'static str],
}

const STRICT: &str = "STRICT_ALL_TABLES";

/// Families whose every value ClickHouse can hold.
pub(super) const EVERY: [Family; 12] =
    [INTEGERS, DECIMALS, FLOATS, TEMPORAL, TEXTS, CHARSETS, BINARIES, BITS, LABELS, JSONS, SCALARS, GEOMETRIES];

const INTEGERS: Family = Family {
    name: "integers",
    sql_mode: STRICT,
    columns: &[
        "t TINYINT",
        "tu TINYINT UNSIGNED",
        "s SMALLINT",
        "su SMALLINT UNSIGNED",
        "m MEDIUMINT",
        "mu MEDIUMINT UNSIGNED",
        "i INT",
        "iu INT UNSIGNED",
        "b BIGINT",
        "bu BIGINT UNSIGNED",
        "flag TINYINT(1)",
        "filled INT(8) UNSIGNED ZEROFILL",
        "y YEAR",
    ],
    rows: &[
        "-128, 0, -32768, 0, -8388608, 0, -2147483648, 0, -9223372036854775808, 0, -1, 0, 1901",
        "127, 255, 32767, 65535, 8388607, 16777215, 2147483647, 4294967295, 9223372036854775807, 18446744073709551615, 127, 4294967295, 2155",
        "-1, 128, -1, 32768, -1, 8388608, -1, 2147483648, -1, 9223372036854775808, 1, 7, 0",
        "0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 12345678, 2024",
    ],
};

const DECIMALS: Family = Family {
    name: "decimals",
    sql_mode: STRICT,
    columns: &[
        "a DECIMAL(65,30)",
        "b DECIMAL(65,0)",
        "c DECIMAL(30,30)",
        "d DECIMAL(1,0)",
        "e DECIMAL(18,9)",
        "f DECIMAL(19,2)",
        "g DECIMAL(38,10)",
        "h DECIMAL(10,2) UNSIGNED",
        "i DECIMAL(9,9)",
    ],
    rows: &[
        "99999999999999999999999999999999999.999999999999999999999999999999, 99999999999999999999999999999999999999999999999999999999999999999, 0.999999999999999999999999999999, 9, 999999999.999999999, 99999999999999999.99, 9999999999999999999999999999.9999999999, 99999999.99, 0.999999999",
        "-99999999999999999999999999999999999.999999999999999999999999999999, -99999999999999999999999999999999999999999999999999999999999999999, -0.999999999999999999999999999999, -9, -999999999.999999999, -99999999999999999.99, -9999999999999999999999999999.9999999999, 0, -0.999999999",
        "0.000000000000000000000000000001, 1, 0.000000000000000000000000000001, 0, 0.000000001, 0.01, 0.0000000001, 0.01, 0.000000001",
        "-0.000000000000000000000000000001, -1, -0.000000000000000000000000000001, -1, -0.000000001, -0.01, -0.0000000001, 1.10, -0.000000001",
        "12345678901234567890.1, 100000000000000000000, 0.5, 5, 1.5, 128, 255, 127, 0.1",
        "-256, -128, -0.5, -5, -1.28, -1.29, -32768, 256, -0.1",
    ],
};

const FLOATS: Family = Family {
    name: "floats",
    sql_mode: STRICT,
    columns: &["f FLOAT", "d DOUBLE", "fu FLOAT UNSIGNED", "fs FLOAT(7,3)", "ds DOUBLE(20,5)"],
    rows: &[
        "3.4028234e38, 1.7976931348623157e308, 3.4028234e38, 9999.999, 123456789012345.12345",
        "-3.4028234e38, -1.7976931348623157e308, 1.17549435e-38, -9999.999, -0.00001",
        "1.17549435e-38, 2.2250738585072014e-308, 0.1, 0.001, 0.1",
        "0.1, 0.1, 16777216, 1.5, 1e14",
        "-0e0, -0e0, 0, 0, 0",
        "1e0 / 3e0, 1e0 / 3e0, 2e0 / 3e0, 2.718, 3.14159",
        "16777217, 9007199254740993, 33554433, 123.456, 0.00002",
    ],
};

const TEMPORAL: Family = Family {
    name: "temporal",
    sql_mode: STRICT,
    columns: &[
        "d DATE",
        "t0 TIME",
        "t1 TIME(1)",
        "t2 TIME(2)",
        "t3 TIME(3)",
        "t4 TIME(4)",
        "t5 TIME(5)",
        "t6 TIME(6)",
        "dt0 DATETIME",
        "dt1 DATETIME(1)",
        "dt2 DATETIME(2)",
        "dt3 DATETIME(3)",
        "dt4 DATETIME(4)",
        "dt5 DATETIME(5)",
        "dt6 DATETIME(6)",
        "ts0 TIMESTAMP NULL",
        "ts1 TIMESTAMP(1) NULL",
        "ts2 TIMESTAMP(2) NULL",
        "ts3 TIMESTAMP(3) NULL",
        "ts4 TIMESTAMP(4) NULL",
        "ts5 TIMESTAMP(5) NULL",
        "ts6 TIMESTAMP(6) NULL",
        "y YEAR",
    ],
    // TIMESTAMP begins at 1970-01-01 00:00:01 and ends at 2038-01-19 03:14:07.999999 UTC: the literals are of the zone of their row (types.rs).
    rows: &[
        "'1900-01-01', '-838:59:59', '-838:59:58.9', '-838:59:58.99', '-838:59:58.999', '-838:59:58.9999', '-838:59:58.99999', '-838:59:58.999999', \
         '1900-01-01', '1900-01-01 00:00:00.1', '1900-01-01 00:00:00.01', '1900-01-01 00:00:00.001', '1900-01-01 00:00:00.0001', '1900-01-01 00:00:00.00001', '1900-01-01 00:00:00.000001', \
         '1970-01-01 00:00:01', '1970-01-01 00:00:01.1', '1970-01-01 00:00:01.01', '1970-01-01 00:00:01.001', '1970-01-01 00:00:01.0001', '1970-01-01 00:00:01.00001', '1970-01-01 00:00:01.000001', 1901",
        "'2299-12-31', '838:59:59', '838:59:58.9', '838:59:58.99', '838:59:58.999', '838:59:58.9999', '838:59:58.99999', '838:59:58.999999', \
         '2299-12-31 23:59:59', '2299-12-31 23:59:59.9', '2299-12-31 23:59:59.99', '2299-12-31 23:59:59.999', '2299-12-31 23:59:59.9999', '2299-12-31 23:59:59.99999', '2299-12-31 23:59:59.999999', \
         '2038-01-19 08:44:07', '2038-01-19 08:44:07.9', '2038-01-19 08:44:07.99', '2038-01-19 08:44:07.999', '2038-01-19 08:44:07.9999', '2038-01-19 08:44:07.99999', '2038-01-19 08:44:07.999999', 2155",
        "'1969-12-31', '-00:00:01', '-00:00:00.1', '-00:00:00.01', '-00:00:00.001', '-00:00:00.0001', '-00:00:00.00001', '-00:00:00.000001', \
         '1969-12-31 23:59:59', '1969-12-31 23:59:59.9', '1969-12-31 23:59:59.99', '1969-12-31 23:59:59.999', '1969-12-31 23:59:59.9999', '1969-12-31 23:59:59.99999', '1969-12-31 23:59:59.999999', \
         '2024-03-31 01:30:00', '2024-03-31 01:30:00.5', '2024-03-31 01:30:00.50', '2024-03-31 01:30:00.500', '2024-03-31 01:30:00.5000', '2024-03-31 01:30:00.50000', '2024-03-31 01:30:00.500000', 0",
        "'2024-02-29', '25:30:15', '-25:30:15.5', '25:30:15.05', '-25:30:15.123', '25:30:15.1234', '-25:30:15.12345', '-25:30:15.123456', \
         '2024-02-29 12:00:00', '2024-02-29 12:00:00.0', '2024-02-29 12:00:00.10', '2024-02-29 12:00:00.120', '2024-02-29 12:00:00.1200', '2024-02-29 12:00:00.12000', '2024-02-29 12:00:00.120000', \
         '2024-10-27 02:30:00', '2024-10-27 02:30:00.0', '2024-10-27 02:30:00.10', '2024-10-27 02:30:00.120', '2024-10-27 02:30:00.1200', '2024-10-27 02:30:00.12000', '2024-10-27 02:30:00.120000', 1999",
        "'1970-01-01', '00:00:00', '00:00:00', '00:00:00', '00:00:00', '00:00:00', '00:00:00', '00:00:00', \
         '1970-01-01', '1970-01-01', '1970-01-01', '1970-01-01', '1970-01-01', '1970-01-01', '1970-01-01', \
         '2000-01-01', '2000-01-01', '2000-01-01', '2000-01-01', '2000-01-01', '2000-01-01', '2000-01-01', 1970",
    ],
};

const TEXTS: Family = Family {
    name: "texts",
    sql_mode: STRICT,
    columns: &[
        "c CHAR(10)",
        "v VARCHAR(300)",
        "tt TINYTEXT",
        "t TEXT",
        "m MEDIUMTEXT",
        "l LONGTEXT",
        "n NATIONAL VARCHAR(20)",
        "ci VARCHAR(10) COLLATE utf8mb4_bin",
    ],
    rows: &[
        "'', '', '', '', '', '', '', ''",
        "'abc  ', 'abc  ', 'abc  ', 'abc  ', 'abc  ', 'abc  ', 'abc  ', 'abc  '",
        "'🚲🎁äß', '🚲 \u{1F468}\u{200D}\u{1F469}', '€', 'zażółć', '日本語', 'नमस्ते', 'ünï', 'Ab'",
        "'a\\0b', 'tab\\t nl\\n cr\\r bs\\\\ q\\' dq\\\" 0\\0 z\\Z', 'x', 'x', 'x', 'x', 'x', 'x'",
        "REPEAT('🚲', 10), REPEAT('é', 300), REPEAT('x', 255), REPEAT('é', 32767), REPEAT('y', 70000), REPEAT('日', 100000), REPEAT('ß', 20), '1234567890'",
        "'NULL', 'NULL', 'null', '\\\\N', '[]', '{}', '', ' '",
    ],
};

const CHARSETS: Family = Family {
    name: "charsets",
    sql_mode: STRICT,
    columns: &[
        "latin1 VARCHAR(300) CHARACTER SET latin1",
        "gbk VARCHAR(60) CHARACTER SET gbk",
        "utf8mb3 VARCHAR(60) CHARACTER SET utf8",
        "ucs2 VARCHAR(60) CHARACTER SET ucs2",
        "utf16 CHAR(20) CHARACTER SET utf16",
        "utf32 VARCHAR(20) CHARACTER SET utf32",
        "cp1251 VARCHAR(60) CHARACTER SET cp1251",
        "sjis VARCHAR(60) CHARACTER SET sjis",
        "big5 TEXT CHARACTER SET big5",
        "ascii CHAR(20) CHARACTER SET ascii",
        "latin2 VARCHAR(60) CHARACTER SET latin2",
        "koi8r TEXT CHARACTER SET koi8r",
    ],
    rows: &[
        "'', '', '', '', '', '', '', '', '', '', '', ''",
        "'Ærø €', '汉字测试', 'zażółć €', '日本', '🚲 ok', '🚲', 'Привет', '日本語ｶﾅ', '漢字', 'plain', 'Łódź', 'Привет'",
        "_latin1 x'808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2aebfc0d7dff7ff', _gbk x'8140a1a1b0a1d7f9815c', 'ǅ', _ucs2 x'0041d7ff', \
         _utf16 x'd83ddeb20041', _utf32 x'0001f6b2', _cp1251 x'a8b8c0ff80', _sjis x'815f8140b1df', _big5 x'a440a45cf9d5', '~', _latin2 x'a1b1ff', _koi8r x'c0ffa3b3'",
        "REPEAT('ü', 300), REPEAT('汉', 60), REPEAT('€', 60), REPEAT('é', 60), REPEAT('a', 20), REPEAT('b', 20), REPEAT('ж', 60), REPEAT('あ', 60), REPEAT('字', 500), REPEAT('c', 20), REPEAT('ő', 60), REPEAT('я', 9000)",
    ],
};

const BINARIES: Family = Family {
    name: "binaries",
    sql_mode: STRICT,
    columns: &["b BINARY(8)", "bb BINARY(1)", "v VARBINARY(300)", "tb TINYBLOB", "bl BLOB", "mb MEDIUMBLOB", "lb LONGBLOB"],
    rows: &[
        "'', '', '', '', '', '', ''",
        "x'00', x'00', x'00', x'00', x'00', x'00', x'00'",
        "x'ff00', x'ff', x'ff0000', x'ff00', x'00ff', x'ff', x'80'",
        "x'0102030405060708', x'20', x'2020', x'c3', x'c328', x'f09f9ab2', x'deadbeef00'",
        "'abc', 'a', REPEAT(x'00ff', 150), REPEAT('q', 255), REPEAT(x'fe', 65535), REPEAT(x'01', 70000), REPEAT(x'00', 300000)",
    ],
};

const BITS: Family = Family {
    name: "bits",
    sql_mode: STRICT,
    columns: &["b1 BIT(1)", "b7 BIT(7)", "b8 BIT(8)", "b9 BIT(9)", "b33 BIT(33)", "b63 BIT(63)", "b64 BIT(64)"],
    rows: &[
        "0, 0, 0, 0, 0, 0, 0",
        "1, 127, 255, 511, 8589934591, 9223372036854775807, 18446744073709551615",
        "b'1', b'1000000', b'10000000', b'100000001', 4294967296, 4611686018427387904, 9223372036854775808",
        "0, 1, 2, 256, 1, 258, 72623859790382856",
    ],
};

const LABELS: Family = Family {
    name: "labels",
    // Lets the invalid member in, whose text is empty.
    sql_mode: "",
    columns: &[
        "e ENUM('a','b,c','it''s','\"q\"','ünï 🚲','sp ace','x\\\\y')",
        "el ENUM('ä','ö') CHARACTER SET latin1",
        "s SET('a','sp ace','it''s','\"q\"','ünï','x\\\\y','z','h','i')",
        "s64 SET('m1','m2','m3','m4','m5','m6','m7','m8','m9','m10','m11','m12','m13','m14','m15','m16','m17','m18','m19','m20','m21','m22','m23','m24','m25','m26','m27','m28','m29','m30','m31','m32',\
         'm33','m34','m35','m36','m37','m38','m39','m40','m41','m42','m43','m44','m45','m46','m47','m48','m49','m50','m51','m52','m53','m54','m55','m56','m57','m58','m59','m60','m61','m62','m63','m64')",
    ],
    rows: &[
        "'a', 'ä', '', ''",
        "'b,c', 'ö', 'it''s,a', 'm64,m1'",
        "'it''s', 'ä', 'a,sp ace,it''s,\"q\",ünï,x\\\\y,z,h,i', 18446744073709551615",
        "'\"q\"', 'ö', 'i', 9223372036854775808",
        "'ünï 🚲', 'ä', 'ünï,x\\\\y', 4294967296",
        "'sp ace', 'ö', 'h', 'm33'",
        "'x\\\\y', 'ä', 'a', 'm1'",
        "'no such', 'no such', 'no such', 'no such'",
        "0, 0, 0, 0",
    ],
};

const JSONS: Family = Family {
    name: "jsons",
    sql_mode: STRICT,
    columns: &["j JSON"],
    rows: &[
        "'{}'",
        "'[]'",
        "'{\"b\": 1, \"aa\": [1, 2.5, \"x\", null, true, false, {}, []], \"a\": {\"nested\": {\"deep\": [[[]]]}}}'",
        "'{\"\": \"\", \"quote\\\\\"d\": \"a\\\\\\\\b\\\\/c\\\\b\\\\f\\\\n\\\\r\\\\t\\\\u0001 🚲 é\"}'",
        "JSON_OBJECT('date', CAST('2024-02-29' AS DATE), 'time', CAST('-25:30:15.123456' AS TIME(6)), 'datetime', CAST('1000-01-01 00:00:00' AS DATETIME), 'six', CAST('2024-02-29 01:02:03.000004' AS DATETIME(6)))",
        "JSON_OBJECT('decimal', CAST(1.10 AS DECIMAL(10,2)), 'long', CAST(-12345678901234567890.123456789012345678901234567890 AS DECIMAL(60,30)), 'zero', CAST(0 AS DECIMAL(5,3)))",
        "JSON_OBJECT('bytes', CAST(x'00ff10' AS JSON), 'bits', CAST(b'101' AS JSON))",
        "JSON_OBJECT('max', 18446744073709551615, 'min', -9223372036854775808, 'i16', 32767, 'u16', 65535, 'i32', -2147483648, 'u32', 4294967295)",
        "JSON_ARRAY(1.0, 0.1, 1e100, -0e0, 1e-7, 1.5e300, 123456789.125, 1e15, 1e16, 1e22, 100e0, 5e-324, 2e0 / 3e0)",
        "(SELECT JSON_OBJECT('large', REPEAT('x', 70000), 'many', JSON_ARRAY(1, 2), 'text', REPEAT('🚲', 200)))",
        "CONCAT('[', REPEAT('[', 90), REPEAT(']', 90), ']')",
        "CONCAT('{\"k\": [0', REPEAT(', 1.5, \"ab\", {\"z\": -1}', 5000), ']}')",
        "JSON_OBJECT('year', CAST(CAST('2024' AS UNSIGNED) AS JSON), 'enum', CAST('a' AS CHAR), 'geo', ST_AsGeoJSON(POINT(1, 2)))",
    ],
};

const SCALARS: Family = Family {
    name: "scalars",
    sql_mode: STRICT,
    columns: &["j JSON"],
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
};

const GEOMETRIES: Family = Family {
    name: "geometries",
    sql_mode: STRICT,
    columns: &[
        "p POINT",
        "l LINESTRING",
        "y POLYGON",
        "mp MULTIPOINT",
        "ml MULTILINESTRING",
        "my MULTIPOLYGON",
        "gc GEOMETRYCOLLECTION",
        "g GEOMETRY",
        "earth POINT SRID 4326",
    ],
    rows: &[
        "ST_GeomFromText('POINT(1.5 -2.25)'), ST_GeomFromText('LINESTRING(0 0,1 1,2 4)'), ST_GeomFromText('POLYGON((0 0,10 0,10 10,0 10,0 0),(2 2,4 2,4 4,2 4,2 2))'), \
         ST_GeomFromText('MULTIPOINT(0 0,1 1)'), ST_GeomFromText('MULTILINESTRING((0 0,1 1),(2 2,3 3))'), ST_GeomFromText('MULTIPOLYGON(((0 0,1 0,1 1,0 0)),((5 5,6 5,6 6,5 5)))'), \
         ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 2),LINESTRING(0 0,1 1))'), ST_GeomFromText('POINT(0 0)'), ST_GeomFromText('POINT(52.5 13.4)', 4326)",
        "ST_GeomFromText('POINT(-1e300 1e-300)'), ST_GeomFromText('LINESTRING(0.1 0.2,0.3 0.4)', 3857), ST_GeomFromText('POLYGON((0 0,1 0,1 1,0 0))', 4326), \
         ST_GeomFromText('MULTIPOINT(7 7)'), ST_GeomFromText('MULTILINESTRING((0 0,1 1))'), ST_GeomFromText('MULTIPOLYGON(((0 0,1 0,1 1,0 0)))'), \
         ST_GeomFromText('GEOMETRYCOLLECTION()'), ST_GeomFromText('GEOMETRYCOLLECTION(GEOMETRYCOLLECTION(POINT(1 1)))', 4326), ST_GeomFromText('POINT(-90 180)', 4326)",
        "POINT(0, 0), NULL, NULL, NULL, NULL, NULL, NULL, ST_GeomFromText('POLYGON((0 0,1 0,1 1,0 0))'), NULL",
    ],
};

/// Dates that MySQL holds and ClickHouse doesn't: exact in Kafka, refused by the consumer.
pub(super) const TOO_WIDE: Family = Family {
    name: "too_wide",
    sql_mode: STRICT,
    columns: &["d DATE", "dt0 DATETIME", "dt3 DATETIME(3)", "dt6 DATETIME(6)"],
    rows: &[
        "'1000-01-01', '1000-01-01 00:00:00', '1000-01-01 00:00:00.001', '1000-01-01 00:00:00.000001'",
        "'9999-12-31', '9999-12-31 23:59:59', '9999-12-31 23:59:59.999', '9999-12-31 23:59:59.999999'",
        "'1582-10-10', '1582-10-10 01:00:00', '1582-10-15 00:00:00', '1899-12-31 23:59:59.999999'",
    ],
};
