//! SET: no label, one and all of 64; labels with everything in them; bits without a label, which sql_mode lets in as none.

use crate::conformance::case::{Case, PLAIN, alone, both};

pub(super) const CASES: &[Case] = &[
    Case {
        table: "set",
        columns: &[
            both("s SET('a','sp ace','it''s','\"q\"','ünï','x\\\\y','z','h','i')"),
            both(
                "m SET('m1','m2','m3','m4','m5','m6','m7','m8','m9','m10','m11','m12','m13','m14','m15','m16','m17','m18','m19','m20','m21','m22','m23','m24','m25','m26','m27','m28','m29','m30','m31','m32','m33','m34','m35','m36','m37','m38','m39','m40','m41','m42','m43','m44','m45','m46','m47','m48','m49','m50','m51','m52','m53','m54','m55','m56','m57','m58','m59','m60','m61','m62','m63','m64')",
            ),
            both("one SET('only')"),
            both("eight SET('1','2','3','4','5','6','7','8')"),
        ],
        rows: &[
            "'', '', '', ''",
            "'it''s,a', 'm64,m1', 'only', '8,1'",
            "'a,sp ace,it''s,\"q\",ünï,x\\\\y,z,h,i', 18446744073709551615, 1, 255",
            "'i', 9223372036854775808, 0, 128",
            "'ünï,x\\\\y', 4294967296, 'only', '3'",
            "'h', 'm33', '', '4'",
        ],
        defaults: &["a SET('x','it''s') NOT NULL DEFAULT 'it''s'", "b SET('é','€') DEFAULT 'é,€'", "c SET('a') DEFAULT ''"],
        ..PLAIN
    },
    Case {
        table: "set_wide",
        columns: &[alone(
            "s SET('é','🚲','🎁','x')",
            "information_schema, from where its labels are named, shows ? for characters that utf8mb3 lacks",
        )],
        rows: &["'é,🚲'", "'🎁,x'", "'x'", "''"],
        defaults: &["f SET('x','é') DEFAULT 'é'"],
        ..PLAIN
    },
    Case { table: "set_invalid", columns: &[both("s SET('a','b')")], rows: &["'no such'", "'a,no such'", "''"], sql_mode: "", ..PLAIN },
];
