//! The one error of the value decoders, and that of making the decoder of a character set.
//!
//! An error names the shape that was found, never the value: these texts reach logs.

/// Why the bytes of one value can't be decoded.
///
/// It owns nothing, so that a result that may hold it costs nothing to drop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The value has another length than its type has.
    #[error("{what} takes {expected} bytes, {found} are there")]
    Length {
        /// The part that was being read.
        what: &'static str,
        /// Bytes that it takes.
        expected: usize,
        /// Bytes that are there.
        found: usize,
    },
    /// A field of a packed value is outside its range.
    #[error("{what} is out of range")]
    Range {
        /// The part that was being read.
        what: &'static str,
    },
    /// The fraction has more digits than the column's precision.
    #[error("a fraction of a second has more than {fsp} digits")]
    Fraction {
        /// The column's fractional seconds precision.
        fsp: u8,
    },
    /// A precision of fractional seconds that MySQL doesn't have.
    #[error("fractional seconds precision {fsp} is above 6")]
    FractionalPrecision {
        /// The precision asked for.
        fsp: u8,
    },
    /// A precision and scale that MySQL doesn't have.
    #[error("DECIMAL({precision},{scale}) does not exist in MySQL")]
    DecimalShape {
        /// Digits in all.
        precision: u8,
        /// Digits after the point.
        scale: u8,
    },
    /// A group of decimal digits holds more than its digits can.
    #[error("the digit group at byte {at} of a decimal exceeds its digits")]
    DecimalDigits {
        /// Where the group begins.
        at: usize,
    },
    /// The text isn't a decimal number with the column's scale and at most 65 digits.
    #[error("the text at byte {at} is not a decimal number of scale {scale}")]
    DecimalText {
        /// The byte where the text stops being one.
        at: usize,
        /// The column's scale.
        scale: u8,
    },
    /// A JSON type byte that the format doesn't have.
    #[error("JSON type {code:#04x} is unknown")]
    JsonType {
        /// The type byte.
        code: u8,
    },
    /// A JSON literal other than null, true and false.
    #[error("JSON literal {code:#04x} is unknown")]
    JsonLiteral {
        /// The literal's byte.
        code: u8,
    },
    /// A JSON document points outside itself, or backwards.
    #[error("a JSON {what} lies outside its container")]
    JsonOffset {
        /// The part that was being read.
        what: &'static str,
    },
    /// A variable length that doesn't end or exceeds 32 bits.
    #[error("a JSON length field is malformed")]
    JsonLength,
    /// The document is nested deeper than the server itself allows.
    #[error("a JSON document is nested deeper than {depth_max} levels")]
    JsonDepth {
        /// The limit.
        depth_max: usize,
    },
    /// Values of the document overlap, so its text would outgrow its binary form without bound.
    #[error("the values of a JSON document overlap")]
    JsonOverlap,
    /// A double that isn't a number; JSON has none.
    #[error("a JSON double is not finite")]
    JsonDouble,
    /// A change of a JSON document (`binlog_row_value_options = PARTIAL_JSON`) that can't be made.
    #[error(
        "a change of a part of the JSON document can't be made: {what}; read the table again, and set binlog_row_value_options to '' at the source if it comes back"
    )]
    JsonDiff {
        /// Why.
        what: &'static str,
    },
    /// Bytes that are no character of the column's character set, or one that has no Unicode equivalent.
    #[error("byte {at} of a {charset} text is not a character with a Unicode equivalent")]
    Text {
        /// The character set.
        charset: &'static str,
        /// The offset of the first byte that isn't one.
        at: usize,
    },
}

/// Why there is no decoder of a character set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CharsetError {
    /// A character set that this decoder doesn't know.
    #[error("character set {name:?} is unknown")]
    Unknown {
        /// Its name.
        name: String,
    },
    /// A single-byte character set was asked for without the server's table.
    #[error("character set {name:?} needs its table from the server")]
    TableMissing {
        /// Its name.
        name: String,
    },
    /// The server's answer to the table query isn't a table of 256 characters.
    #[error("the server's table of character set {name:?} does not have 256 characters")]
    Table {
        /// Its name.
        name: String,
    },
}
