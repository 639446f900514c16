//! The double-byte character sets: encoding_rs's tables with MySQL's own cells.
//!
//! Each set's table is built once from encoding_rs and changed in the cells where MySQL differs
//! (`strings/ctype-{big5,cp932,euc_kr,eucjpms,gb18030,gb2312,gbk,sjis,ujis}.cc`); a character is then
//! one look-up. The integration test compares every cell with the server.

use std::sync::OnceLock;

use encoding_rs::Encoding;

use super::{append_ascii, push};

/// How the bytes of a multi-byte set group into characters; all begin as ASCII.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// Two bytes.
    Double,
    /// Two bytes, or one of half-width katakana.
    ShiftJis,
    /// Two bytes, or three behind 0x8F.
    EucJp,
    /// Two bytes, or four with a digit second.
    Gb18030,
}

/// A multi-byte set: encoding_rs's, with MySQL's own cells.
#[derive(Debug)]
pub(super) struct MultiByte {
    name: &'static str,
    encoding: &'static Encoding,
    shape: Shape,
    edits: &'static [Edit],
    /// Cells of the plane behind 0x8F.
    edits_after_8f: &'static [Edit],
    tables: OnceLock<Tables>,
}

/// Code units by code, 0 where there is no character. All double-byte characters of MySQL are in
/// the basic plane.
#[derive(Debug)]
struct Tables {
    double: Vec<u16>,
    /// Behind 0x8F, if the shape has that.
    after_8f: Vec<u16>,
    /// GB 18030's characters of four bytes in the basic plane, by their linear number.
    four: Vec<u16>,
}

/// Cells where MySQL differs: in each row from `lead_first` to `lead_last` those from `trail_first`
/// to `trail_last`.
#[derive(Debug)]
struct Edit {
    lead_first: u8,
    lead_last: u8,
    trail_first: u8,
    trail_last: u8,
    to: To,
}

/// What MySQL has in those cells, in the order of the codes.
#[derive(Debug, Clone, Copy)]
enum To {
    /// Consecutive code units from this one on; from [`NONE`] on there are no characters.
    From(u16),
    /// These characters.
    Text(&'static str),
}

const NONE: u16 = 0;

const fn edit(lead_first: u8, lead_last: u8, trail_first: u8, trail_last: u8, to: u16) -> Edit {
    Edit { lead_first, lead_last, trail_first, trail_last, to: To::From(to) }
}

const fn row(lead: u8, trail_first: u8, trail_last: u8, text: &'static str) -> Edit {
    Edit { lead_first: lead, lead_last: lead, trail_first, trail_last, to: To::Text(text) }
}

/// The place of a code in a table; leads begin at 0x80.
fn cell(lead: u8, trail: u8) -> usize {
    usize::from(lead & 0x7f) << 8 | usize::from(trail)
}

/// GB 18030's characters of four bytes that lie in the basic plane.
const GB18030_BASIC_FOUR: u32 = 39_420;
/// Where those of the other planes begin, 0x90308130.
const GB18030_OTHER_PLANES: u32 = 189_000;

impl MultiByte {
    const fn new(
        name: &'static str,
        encoding: &'static Encoding,
        shape: Shape,
        edits: &'static [Edit],
        edits_after_8f: &'static [Edit],
    ) -> Self {
        Self { name, encoding, shape, edits, edits_after_8f, tables: OnceLock::new() }
    }

    pub(super) fn by_name(name: &str) -> Option<&'static Self> {
        ALL.into_iter().find(|multi| multi.name == name)
    }

    pub(super) const fn name(&self) -> &'static str {
        self.name
    }

    pub(super) const fn bytes_per_char_max(&self) -> u8 {
        match self.shape {
            Shape::Double | Shape::ShiftJis => 2,
            Shape::EucJp => 3,
            Shape::Gb18030 => 4,
        }
    }

    pub(super) fn append_utf8(&self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), usize> {
        let mut rest = append_ascii(bytes, out);
        if rest.is_empty() {
            return Ok(());
        }
        let tables = self.tables.get_or_init(|| self.build());
        while !rest.is_empty() {
            let (character, length) = self.character(tables, rest).ok_or(bytes.len() - rest.len())?;
            push(character, out);
            rest = append_ascii(rest.get(length..).unwrap_or_default(), out);
        }
        Ok(())
    }

    /// The character at the beginning and the bytes that it takes.
    fn character(&self, tables: &Tables, rest: &[u8]) -> Option<(char, usize)> {
        match (self.shape, rest) {
            (Shape::ShiftJis, [byte @ 0xa1..=0xdf, ..]) => char::from_u32(0xff61 + u32::from(byte - 0xa1)).map(|character| (character, 1)),
            (Shape::EucJp, [0x8f, lead @ 0x80..=0xff, trail, ..]) => Some((from_table(&tables.after_8f, cell(*lead, *trail))?, 3)),
            (Shape::Gb18030, [a, b @ 0x30..=0x39, c, d, ..]) => Some((gb18030_four(tables, [*a, *b, *c, *d])?, 4)),
            (_, [lead @ 0x81..=0xff, trail, ..]) => Some((from_table(&tables.double, cell(*lead, *trail))?, 2)),
            _ => None,
        }
    }

    fn build(&self) -> Tables {
        let mut double = self.build_plane(&[]);
        apply(self.edits, &mut double);
        let mut after_8f = Vec::new();
        let mut four = Vec::new();
        if self.shape == Shape::EucJp {
            after_8f = self.build_plane(&[0x8f]);
            apply(self.edits_after_8f, &mut after_8f);
        }
        if self.shape == Shape::Gb18030 {
            four.extend((0..GB18030_BASIC_FOUR).map(|linear| self.unit(&gb18030_bytes(linear))));
        }
        Tables { double, after_8f, four }
    }

    /// encoding_rs's characters of the codes behind `prefix`.
    fn build_plane(&self, prefix: &[u8]) -> Vec<u16> {
        let mut code = prefix.to_vec();
        let mut plane = Vec::with_capacity(0x8000);
        for lead in 0x80..=u8::MAX {
            for trail in 0..=u8::MAX {
                code.truncate(prefix.len());
                code.extend([lead, trail]);
                plane.push(self.unit(&code));
            }
        }
        plane
    }

    /// encoding_rs's character of a code, 0 if it isn't exactly one of the basic plane.
    fn unit(&self, code: &[u8]) -> u16 {
        let text = self.encoding.decode_without_bom_handling_and_without_replacement(code);
        let mut units = text.iter().flat_map(|text| text.encode_utf16());
        match (units.next(), units.next()) {
            (Some(unit), None) => unit,
            _ => NONE,
        }
    }
}

fn apply(edits: &[Edit], plane: &mut [u16]) {
    for edit in edits {
        let cells =
            (edit.lead_first..=edit.lead_last).flat_map(|lead| (edit.trail_first..=edit.trail_last).map(move |trail| cell(lead, trail)));
        match edit.to {
            To::From(NONE) => set(plane, cells.zip(std::iter::repeat(NONE))),
            To::From(first) => set(plane, cells.zip(first..)),
            To::Text(text) => set(plane, cells.zip(text.encode_utf16())),
        }
    }
}

fn set(plane: &mut [u16], units: impl Iterator<Item = (usize, u16)>) {
    for (at, unit) in units {
        if let Some(slot) = plane.get_mut(at) {
            *slot = unit;
        }
    }
}

fn from_table(table: &[u16], at: usize) -> Option<char> {
    table.get(at).filter(|unit| **unit != NONE).and_then(|unit| char::from_u32((*unit).into()))
}

/// A code of four bytes by its linear number: 126 × 10 × 126 × 10 of them.
fn gb18030_bytes(linear: u32) -> [u8; 4] {
    let digit = |value: u32, base: u8| base + u8::try_from(value).unwrap_or(0);
    [digit(linear / 12_600, 0x81), digit(linear / 1_260 % 10, 0x30), digit(linear / 10 % 126, 0x81), digit(linear % 10, 0x30)]
}

fn gb18030_four(tables: &Tables, [a, b, c, d]: [u8; 4]) -> Option<char> {
    let in_range = |byte: u8, first: u8, last: u8| (first..=last).contains(&byte).then(|| u32::from(byte - first));
    let linear =
        ((in_range(a, 0x81, 0xfe)? * 10 + in_range(b, 0x30, 0x39)?) * 126 + in_range(c, 0x81, 0xfe)?) * 10 + in_range(d, 0x30, 0x39)?;
    if linear < GB18030_BASIC_FOUR {
        return from_table(&tables.four, usize::try_from(linear).ok()?);
    }
    // The other planes follow in order of their code points.
    linear.checked_sub(GB18030_OTHER_PLANES).and_then(|beyond| char::from_u32(0x1_0000 + beyond))
}

static GBK: MultiByte = MultiByte::new("gbk", encoding_rs::GBK, Shape::Double, GBK_EDITS, &[]);
static GB2312: MultiByte = MultiByte::new("gb2312", encoding_rs::GBK, Shape::Double, GB2312_EDITS, &[]);
static GB18030: MultiByte = MultiByte::new("gb18030", encoding_rs::GB18030, Shape::Gb18030, GB18030_EDITS, &[]);
static BIG5: MultiByte = MultiByte::new("big5", encoding_rs::BIG5, Shape::Double, BIG5_EDITS, &[]);
static SJIS: MultiByte = MultiByte::new("sjis", encoding_rs::SHIFT_JIS, Shape::ShiftJis, SJIS_EDITS, &[]);
static CP932: MultiByte = MultiByte::new("cp932", encoding_rs::SHIFT_JIS, Shape::ShiftJis, &[], &[]);
static UJIS: MultiByte = MultiByte::new("ujis", encoding_rs::EUC_JP, Shape::EucJp, UJIS_EDITS, UJIS_EDITS_AFTER_8F);
static EUCJPMS: MultiByte = MultiByte::new("eucjpms", encoding_rs::EUC_JP, Shape::EucJp, EUCJPMS_EDITS, EUCJPMS_EDITS_AFTER_8F);
static EUCKR: MultiByte = MultiByte::new("euckr", encoding_rs::EUC_KR, Shape::Double, &[], &[]);

static ALL: [&MultiByte; 9] = [&GBK, &GB2312, &GB18030, &BIG5, &SJIS, &CP932, &UJIS, &EUCJPMS, &EUCKR];

/// gbk has no user-defined area; encoding_rs decodes it as GB 18030.
const GBK_EDITS: &[Edit] = &[
    edit(0xa1, 0xa7, 0x40, 0xa0, NONE),
    edit(0xa2, 0xa2, 0xab, 0xb0, NONE),
    edit(0xa2, 0xa2, 0xe3, 0xe4, NONE),
    edit(0xa2, 0xa2, 0xef, 0xf0, NONE),
    edit(0xa2, 0xa2, 0xfd, 0xfe, NONE),
    edit(0xa4, 0xa4, 0xf4, 0xfe, NONE),
    edit(0xa5, 0xa5, 0xf7, 0xfe, NONE),
    edit(0xa6, 0xa6, 0xb9, 0xc0, NONE),
    edit(0xa6, 0xa6, 0xd9, 0xdf, NONE),
    edit(0xa6, 0xa6, 0xec, 0xed, NONE),
    edit(0xa6, 0xa6, 0xf3, 0xf3, NONE),
    edit(0xa6, 0xa6, 0xf6, 0xfe, NONE),
    edit(0xa7, 0xa7, 0xc2, 0xd0, NONE),
    edit(0xa7, 0xa7, 0xf2, 0xfe, NONE),
    edit(0xa8, 0xa8, 0x96, 0xa0, NONE),
    edit(0xa8, 0xa8, 0xbc, 0xbc, NONE),
    edit(0xa8, 0xa8, 0xbf, 0xbf, NONE),
    edit(0xa8, 0xa8, 0xc1, 0xc4, NONE),
    edit(0xa8, 0xa8, 0xea, 0xfe, NONE),
    edit(0xa9, 0xa9, 0x58, 0x58, NONE),
    edit(0xa9, 0xa9, 0x5b, 0x5b, NONE),
    edit(0xa9, 0xa9, 0x5d, 0x5f, NONE),
    edit(0xa9, 0xa9, 0x89, 0x95, NONE),
    edit(0xa9, 0xa9, 0x97, 0xa3, NONE),
    edit(0xa9, 0xa9, 0xf0, 0xfe, NONE),
    edit(0xaa, 0xaf, 0xa1, 0xfe, NONE),
    edit(0xd7, 0xd7, 0xfa, 0xfe, NONE),
    edit(0xf8, 0xfd, 0xa1, 0xfe, NONE),
    edit(0xfe, 0xfe, 0x50, 0xfe, NONE),
];

/// gb2312 is the 94 × 94 part of GBK, with two characters of its own.
const GB2312_EDITS: &[Edit] = &[
    edit(0x81, 0xa0, 0x40, 0xfe, NONE),
    edit(0xa1, 0xfe, 0x40, 0xa0, NONE),
    edit(0xf8, 0xfe, 0xa1, 0xfe, NONE),
    edit(0xa1, 0xa1, 0xa4, 0xa4, 0x30fb),
    edit(0xa1, 0xa1, 0xaa, 0xaa, 0x2015),
    edit(0xa2, 0xa2, 0xa1, 0xb0, NONE),
    edit(0xa2, 0xa2, 0xe3, 0xe4, NONE),
    edit(0xa2, 0xa2, 0xef, 0xf0, NONE),
    edit(0xa2, 0xa2, 0xfd, 0xfe, NONE),
    edit(0xa4, 0xa4, 0xf4, 0xfe, NONE),
    edit(0xa5, 0xa5, 0xf7, 0xfe, NONE),
    edit(0xa6, 0xa6, 0xb9, 0xc0, NONE),
    edit(0xa6, 0xa6, 0xd9, 0xfe, NONE),
    edit(0xa7, 0xa7, 0xc2, 0xd0, NONE),
    edit(0xa7, 0xa7, 0xf2, 0xfe, NONE),
    edit(0xa8, 0xa8, 0xbb, 0xc4, NONE),
    edit(0xa8, 0xa8, 0xea, 0xfe, NONE),
    edit(0xa9, 0xa9, 0xa1, 0xa3, NONE),
    edit(0xa9, 0xa9, 0xf0, 0xfe, NONE),
    edit(0xaa, 0xaf, 0xa1, 0xfe, NONE),
    edit(0xd7, 0xd7, 0xfa, 0xfe, NONE),
];

/// gb18030 is the edition of 2000, with private-use characters where that of 2005 has others.
const GB18030_EDITS: &[Edit] = &[
    edit(0xa3, 0xa3, 0xa0, 0xa0, 0xe5e5),
    edit(0xa6, 0xa6, 0xd9, 0xdf, 0xe78d),
    edit(0xa6, 0xa6, 0xec, 0xed, 0xe794),
    edit(0xa6, 0xa6, 0xf3, 0xf3, 0xe796),
    edit(0xfe, 0xfe, 0x59, 0x59, 0xe81e),
    edit(0xfe, 0xfe, 0x61, 0x61, 0xe826),
    edit(0xfe, 0xfe, 0x66, 0x67, 0xe82b),
    edit(0xfe, 0xfe, 0x6d, 0x6d, 0xe832),
    edit(0xfe, 0xfe, 0x7e, 0x7e, 0xe843),
    edit(0xfe, 0xfe, 0x90, 0x90, 0xe854),
    edit(0xfe, 0xfe, 0xa0, 0xa0, 0xe864),
];

/// big5 is the ETEN variant without the Hong Kong supplement.
const BIG5_EDITS: &[Edit] = &[
    edit(0x81, 0xa0, 0x40, 0xfe, NONE),
    edit(0xfa, 0xfe, 0x40, 0xfe, NONE),
    edit(0xa1, 0xa1, 0x45, 0x45, 0x2022),
    edit(0xa1, 0xa1, 0x4e, 0x4e, 0xff64),
    edit(0xa1, 0xa1, 0x5a, 0x5a, NONE),
    edit(0xa1, 0xa1, 0xc2, 0xc2, 0x203e),
    edit(0xa1, 0xa1, 0xc3, 0xc3, NONE),
    edit(0xa1, 0xa1, 0xc5, 0xc5, NONE),
    edit(0xa1, 0xa1, 0xe3, 0xe3, 0x223c),
    edit(0xa1, 0xa1, 0xf2, 0xf2, 0x2641),
    edit(0xa1, 0xa1, 0xf3, 0xf3, 0x2609),
    edit(0xa1, 0xa1, 0xfe, 0xfe, NONE),
    edit(0xa2, 0xa2, 0x40, 0x40, NONE),
    edit(0xa2, 0xa2, 0x41, 0x41, 0xff0f),
    edit(0xa2, 0xa2, 0x42, 0x42, 0xff3c),
    edit(0xa2, 0xa2, 0x44, 0x44, 0x00a5),
    edit(0xa2, 0xa2, 0x46, 0x47, 0x00a2),
    edit(0xa2, 0xa2, 0xcc, 0xcc, NONE),
    edit(0xa2, 0xa2, 0xce, 0xce, NONE),
    edit(0xa3, 0xa3, 0xc0, 0xe1, NONE),
    edit(0xc6, 0xc6, 0xa1, 0xa1, 0x30fe),
    edit(0xc6, 0xc6, 0xa2, 0xa3, 0x309d),
    edit(0xc6, 0xc6, 0xa4, 0xa4, 0x3005),
    edit(0xc6, 0xc6, 0xa5, 0xf7, 0x3041),
    edit(0xc6, 0xc6, 0xf8, 0xfe, 0x30a1),
    edit(0xc7, 0xc7, 0x40, 0x7e, 0x30a8),
    edit(0xc7, 0xc7, 0xa1, 0xb0, 0x30e7),
    edit(0xc7, 0xc7, 0xb1, 0xb2, 0x0414),
    edit(0xc7, 0xc7, 0xb3, 0xb3, 0x0401),
    edit(0xc7, 0xc7, 0xb4, 0xba, 0x0416),
    edit(0xc7, 0xc7, 0xbb, 0xcd, 0x0423),
    edit(0xc7, 0xc7, 0xce, 0xce, 0x0451),
    edit(0xc7, 0xc7, 0xcf, 0xe8, 0x0436),
    edit(0xc7, 0xc7, 0xe9, 0xf2, 0x2460),
    edit(0xc7, 0xc7, 0xf3, 0xfc, 0x2474),
    edit(0xc7, 0xc7, 0xfd, 0xfe, NONE),
    edit(0xc8, 0xc8, 0x40, 0xfe, NONE),
    edit(0xf9, 0xf9, 0xdd, 0xfe, NONE),
];

/// sjis is JIS X 0208 without the extensions of NEC and IBM.
const SJIS_EDITS: &[Edit] = &[
    edit(0x81, 0x81, 0x5f, 0x5f, 0x005c),
    edit(0x81, 0x81, 0x60, 0x60, 0x301c),
    edit(0x81, 0x81, 0x61, 0x61, 0x2016),
    edit(0x81, 0x81, 0x7c, 0x7c, 0x2212),
    edit(0x81, 0x81, 0x91, 0x92, 0x00a2),
    edit(0x81, 0x81, 0xca, 0xca, 0x00ac),
    edit(0x87, 0x87, 0x40, 0x9c, NONE),
    edit(0xed, 0xee, 0x40, 0xfc, NONE),
    edit(0xf0, 0xfb, 0x40, 0xfc, NONE),
    edit(0xfc, 0xfc, 0x40, 0x4b, NONE),
];

/// ujis has JIS X 0208's own symbols, no NEC row, and a user-defined area.
const UJIS_EDITS: &[Edit] = &[
    edit(0xa1, 0xa1, 0xc0, 0xc0, 0x005c),
    edit(0xa1, 0xa1, 0xc1, 0xc1, 0x301c),
    edit(0xa1, 0xa1, 0xc2, 0xc2, 0x2016),
    edit(0xa1, 0xa1, 0xdd, 0xdd, 0x2212),
    edit(0xa1, 0xa1, 0xf1, 0xf2, 0x00a2),
    edit(0xa2, 0xa2, 0xcc, 0xcc, 0x00ac),
    edit(0xad, 0xad, 0xa1, 0xfc, NONE),
    edit(0xf5, 0xfe, 0xa1, 0xfe, 0xe000),
];
const UJIS_EDITS_AFTER_8F: &[Edit] = &[edit(0xa2, 0xa2, 0xb7, 0xb7, 0x007e), edit(0xf5, 0xfe, 0xa1, 0xfe, 0xe3ac)];

/// eucjpms is eucJP-ms: the NEC row stays, the IBM extensions come behind 0x8F.
const EUCJPMS_EDITS: &[Edit] = &[edit(0xf5, 0xfe, 0xa1, 0xfe, 0xe000)];
const EUCJPMS_EDITS_AFTER_8F: &[Edit] = &[
    row(0xf3, 0xf3, 0xfe, "ⅰⅱⅲⅳⅴⅵⅶⅷⅸⅹⅠⅡ"),
    row(
        0xf4,
        0xa1,
        0xfe,
        "\
         ⅢⅣⅤⅥⅦⅧⅨⅩ＇＂㈱№℡炻仼僴凬匇匤﨎咊坙﨏塚增寬峵嵓﨑德悅愠\
         敎昻晥晴朗栁﨓﨔橫櫢淸淲瀨凞猪甁皂皞益礰礼神祥福竧靖精綠緖羽荢﨟\
         薰蘒﨡蠇諸譿賴赶﨣﨤逸郞都鄕﨧﨨閒隆﨩霻靍靑飯飼館馞髙魲鶴黑",
    ),
    edit(0xa2, 0xa2, 0xc3, 0xc3, 0xffe4),
    edit(0xf5, 0xfe, 0xa1, 0xfe, 0xe3ac),
];
