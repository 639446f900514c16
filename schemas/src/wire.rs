//! Avro's binary encoding, the primitive types (Avro 1.12, "Binary Encoding"): appended to a buffer, read with every length checked.

/// Appends an `int` or `long`: zig-zag, then base 128 with the least significant group first.
#[inline]
pub fn put_long(out: &mut Vec<u8>, value: i64) {
    let zigzag = zigzag(value);
    // Lengths, branches of unions and small numbers have one byte or two.
    if zigzag < 0x80 {
        out.push(low_byte(zigzag));
    } else if zigzag < 0x4000 {
        out.extend_from_slice(&[low_byte(zigzag) | 0x80, low_byte(zigzag >> 7)]);
    } else {
        put_longer(out, zigzag);
    }
}

/// A number of more than two bytes.
fn put_longer(out: &mut Vec<u8>, zigzag: u64) {
    let (bytes, len) = low_groups(zigzag);
    let start = out.len();
    out.extend_from_slice(&bytes);
    out.truncate(start + len);
    if zigzag >> 56 != 0 {
        put_high_groups(out, zigzag >> 56);
    }
}

/// What is behind a number's eighth group: seven bits, and a tenth group of one.
#[inline(never)]
fn put_high_groups(out: &mut Vec<u8>, rest: u64) {
    if rest < 0x80 {
        out.push(low_byte(rest));
    } else {
        out.extend_from_slice(&[low_byte(rest) | 0x80, 1]);
    }
}

/// The lowest eight groups of a number, and how many of them it has, at least one. All but the number's last have their high bit.
#[inline]
fn low_groups(zigzag: u64) -> ([u8; 8], usize) {
    let groups = ((zigzag | 1).ilog2() / 7 + 1).min(8);
    let fours = (zigzag & 0x0fff_ffff) | (zigzag << 4) & 0x0fff_ffff_0000_0000;
    let pairs = (fours & 0x0000_3fff_0000_3fff) | (fours << 2) & 0x3fff_0000_3fff_0000;
    let ones = (pairs & 0x007f_007f_007f_007f) | (pairs << 1) & 0x7f00_7f00_7f00_7f00;
    // A ninth group sets the eighth's high bit as well.
    let more = if zigzag >> 56 == 0 { (1 << (8 * (groups - 1))) - 1 } else { u64::MAX };
    ((ones | 0x8080_8080_8080_8080 & more).to_le_bytes(), groups as usize)
}

/// Appends `bytes` or a `string`: the length, then the bytes.
#[inline]
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_len(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// Appends a length. A `Vec` never holds more than `isize::MAX` bytes, so the cast is exact.
#[inline]
pub fn put_len(out: &mut Vec<u8>, len: usize) {
    put_long(out, i64::try_from(len).unwrap_or(i64::MAX));
}

/// Appends a `float`, little-endian.
#[inline]
pub fn put_float(out: &mut Vec<u8>, value: f32) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends a `double`, little-endian.
#[inline]
pub fn put_double(out: &mut Vec<u8>, value: f64) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends `bytes` whose length isn't known before they are written: `write` appends them, the length is put in front afterwards.
///
/// # Errors
/// What `write` returns; `out` is then as it was before the call.
#[inline]
pub fn put_sized<E>(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
    // Most values are shorter than 64 bytes, whose length takes one byte.
    put_sized_near(out, 0, write)
}

/// As [`put_sized`], of bytes that are probably about as many as `near`: there is as much room for their length, and only where that was wrong do they move.
///
/// # Errors
/// What `write` returns; `out` is then as it was before the call.
#[inline]
pub fn put_sized_near<E>(out: &mut Vec<u8>, near: usize, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
    let start = out.len();
    put_len(out, near);
    let room = out.len() - start;
    if let Err(error) = write(out) {
        out.truncate(start);
        return Err(error);
    }
    let len = out.len() - start - room;
    if room == 1 && len < 64 {
        out[start] = low_byte(zigzag(i64::try_from(len).unwrap_or(0)));
    } else {
        set_len(out, start, room, len);
    }
    Ok(())
}

/// Puts a length in the place of the `room` bytes at `start`, in front of the `len` bytes at the end.
fn set_len(out: &mut Vec<u8>, start: usize, room: usize, len: usize) {
    // No memory has so many bytes that their number takes a ninth group.
    let (prefix, used) = low_groups(zigzag(i64::try_from(len).unwrap_or(i64::MAX)));
    let (from, to) = (start + room, start + used);
    if used > room {
        out.resize(to + len, 0);
    }
    if used != room {
        out.copy_within(from..from + len, to);
        out.truncate(to + len);
    }
    out[start..to].copy_from_slice(&prefix[..used]);
}

#[inline]
fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

#[inline]
fn low_byte(value: u64) -> u8 {
    (value & 0xff) as u8
}

/// What can be wrong with Avro bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The bytes end inside a value.
    #[error("the record ends in the middle of a value")]
    Truncated,
    /// A number with more than ten groups, or of more than 64 bits.
    #[error("a number is longer than 64 bits")]
    Overlong,
    /// A negative length, or one beyond the end.
    #[error("a length of {0} is out of range")]
    Length(i64),
}

/// Takes an `int` or `long` from the front of `input`.
///
/// # Errors
/// [`WireError::Truncated`] and [`WireError::Overlong`].
#[inline]
pub fn take_long(input: &mut &[u8]) -> Result<i64, WireError> {
    // Lengths, branches of unions and small numbers have one byte.
    if let [byte @ 0..=0x7f, rest @ ..] = *input {
        *input = rest;
        return Ok(unzigzag(u64::from(*byte)));
    }
    match take_groups(input) {
        Some(value) => Ok(value),
        None => take_long_bytewise(input),
    }
}

/// A number of two to nine bytes, eight of which can be read at once; none where it isn't one, and `input` stays as it is. What it returns fits into registers.
#[inline]
fn take_groups(input: &mut &[u8]) -> Option<i64> {
    let (chunk, rest) = input.split_first_chunk::<8>()?;
    let bytes = u64::from_le_bytes(*chunk);
    // The last byte of the number is the first without its high bit.
    let ends = !bytes & 0x8080_8080_8080_8080;
    if ends != 0 {
        *input = behind(input, ends);
        return Some(unzigzag(groups(bytes & (ends ^ (ends - 1)))));
    }
    // Times and places in the order of changes have nine.
    let [byte @ 0..=0x7f, rest @ ..] = rest else { return None };
    *input = rest;
    Some(unzigzag(groups(bytes) | u64::from(*byte) << 56))
}

/// Moves `input` behind an `int` or `long`.
///
/// # Errors
/// As [`take_long`]'s.
#[inline]
pub fn skip_long(input: &mut &[u8]) -> Result<(), WireError> {
    if let [0..=0x7f, rest @ ..] = *input {
        *input = rest;
        return Ok(());
    }
    if skip_groups(input) { Ok(()) } else { take_long_bytewise(input).map(drop) }
}

/// Moves behind a number of two to nine bytes; false where it isn't one, and `input` stays as it is.
fn skip_groups(input: &mut &[u8]) -> bool {
    let Some((chunk, rest)) = input.split_first_chunk::<8>() else { return false };
    let ends = !u64::from_le_bytes(*chunk) & 0x8080_8080_8080_8080;
    if ends != 0 {
        *input = behind(input, ends);
        return true;
    }
    let [0..=0x7f, rest @ ..] = rest else { return false };
    *input = rest;
    true
}

/// What stands behind the first of eight bytes whose high bit is set in `ends`.
#[inline]
fn behind(input: &[u8], ends: u64) -> &[u8] {
    let len = (ends.trailing_zeros() / 8 + 1) as usize;
    input.split_at_checked(len).map_or(&[], |(_, rest)| rest)
}

/// The groups of seven bits, moved together.
#[inline]
fn groups(bytes: u64) -> u64 {
    let pairs = (bytes & 0x007f_007f_007f_007f) | (bytes & 0x7f00_7f00_7f00_7f00) >> 1;
    let fours = (pairs & 0x0000_3fff_0000_3fff) | (pairs & 0x3fff_0000_3fff_0000) >> 2;
    (fours & 0x0fff_ffff) | (fours & 0x0fff_ffff_0000_0000) >> 4
}

/// A number of any length, byte by byte.
#[cold]
fn take_long_bytewise(input: &mut &[u8]) -> Result<i64, WireError> {
    let mut value = 0_u64;
    let mut shift = 0;
    loop {
        let (&byte, rest) = input.split_first().ok_or(WireError::Truncated)?;
        *input = rest;
        if shift == 63 && byte > 1 {
            return Err(WireError::Overlong);
        }
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(unzigzag(value));
        }
        shift += 7;
    }
}

#[inline]
fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

/// Takes `len` bytes from the front of `input`.
///
/// # Errors
/// [`WireError::Truncated`] where there are fewer.
#[inline]
pub fn take<'a>(input: &mut &'a [u8], len: usize) -> Result<&'a [u8], WireError> {
    let (taken, rest) = input.split_at_checked(len).ok_or(WireError::Truncated)?;
    *input = rest;
    Ok(taken)
}

/// Takes `bytes` or a `string` from the front of `input`.
///
/// # Errors
/// [`WireError::Length`] for a length that is negative or beyond the end.
#[inline]
pub fn take_bytes<'a>(input: &mut &'a [u8]) -> Result<&'a [u8], WireError> {
    // Most are shorter than 64 bytes: a length of one byte, which isn't negative.
    if let [byte, rest @ ..] = *input
        && byte & 0x81 == 0
        && let Some((taken, rest)) = rest.split_at_checked(usize::from(byte >> 1))
    {
        *input = rest;
        return Ok(taken);
    }
    take_longer_bytes(input)
}

fn take_longer_bytes<'a>(input: &mut &'a [u8]) -> Result<&'a [u8], WireError> {
    let len = take_long(input)?;
    usize::try_from(len).ok().and_then(|len| input.split_at_checked(len)).map_or(Err(WireError::Length(len)), |(taken, rest)| {
        *input = rest;
        Ok(taken)
    })
}

/// Moves `input` behind `bytes` or a `string`.
///
/// # Errors
/// As [`take_bytes`]'s.
#[inline]
pub fn skip_bytes(input: &mut &[u8]) -> Result<(), WireError> {
    if let [byte, rest @ ..] = *input
        && byte & 0x81 == 0
        && let Some(rest) = rest.get(usize::from(byte >> 1)..)
    {
        *input = rest;
        return Ok(());
    }
    take_longer_bytes(input).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn longs_are_as_apache_avro_writes_them(value: i64) {
            let mut ours = Vec::new();
            put_long(&mut ours, value);
            let schema = apache_avro::Schema::Long;
            let writer = apache_avro::writer::datum::GenericDatumWriter::builder(&schema).build().expect("writer");
            let theirs = writer.write_value_to_vec(value).expect("datum");
            prop_assert_eq!(&ours, &theirs);
            let mut rest = ours.as_slice();
            prop_assert_eq!(take_long(&mut rest), Ok(value));
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn sized_bytes_are_as_counted_bytes(
            bytes in prop_oneof![0..20_000_usize, Just(63), Just(64), Just(8191), Just(8192)].prop_flat_map(|len| proptest::collection::vec(any::<u8>(), len)),
            near in prop_oneof![0..20_000_usize, 60..68_usize, Just(2_000_000)],
        ) {
            let (mut sized, mut near_sized, mut counted) = (vec![7], vec![7], vec![7]);
            put_sized(&mut sized, |out| { out.extend_from_slice(&bytes); Ok::<_, ()>(()) }).expect("never fails");
            put_sized_near(&mut near_sized, near, |out| { out.extend_from_slice(&bytes); Ok::<_, ()>(()) }).expect("never fails");
            put_bytes(&mut counted, &bytes);
            prop_assert_eq!(&sized, &counted);
            prop_assert_eq!(&near_sized, &counted);
            let mut rest = &counted[1..];
            prop_assert_eq!(take_bytes(&mut rest), Ok(bytes.as_slice()));
        }

        #[test]
        fn longs_of_each_length_are_written_group_by_group(value: u64, shift in 0..64) {
            let value = value >> shift;
            let mut rest = value;
            let mut groups = Vec::new();
            while rest >= 0x80 {
                groups.push(low_byte(rest) | 0x80);
                rest >>= 7;
            }
            groups.push(low_byte(rest));
            let mut out = vec![1, 2];
            put_long(&mut out, unzigzag(value));
            prop_assert_eq!(&out[2..], &groups);
        }

        #[test]
        fn longs_are_read_as_byte_by_byte(bytes in proptest::collection::vec(any::<u8>(), 0..14), value: i64, shift in 0..64, behind in 0..9_usize) {
            let (mut at_once, mut one_by_one) = (bytes.as_slice(), bytes.as_slice());
            let mut skipped = bytes.as_slice();
            let taken = take_long(&mut at_once);
            prop_assert_eq!(&taken, &take_long_bytewise(&mut one_by_one));
            prop_assert_eq!(skip_long(&mut skipped), taken.map(drop));
            prop_assert!(taken.is_err() || (at_once, skipped) == (one_by_one, one_by_one), "as much is left");
            let mut bytes = Vec::new();
            put_long(&mut bytes, value >> shift);
            bytes.resize(bytes.len() + behind, 0xff);
            let mut rest = bytes.as_slice();
            prop_assert_eq!((take_long(&mut rest), rest.len()), (Ok(value >> shift), behind));
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = take_long(&mut bytes.as_slice());
            let (mut taken, mut skipped) = (bytes.as_slice(), bytes.as_slice());
            prop_assert_eq!(take_bytes(&mut taken).map(drop), skip_bytes(&mut skipped));
            prop_assert_eq!(taken, skipped);
        }
    }

    #[test]
    fn a_failed_sized_write_leaves_nothing() {
        let mut out = vec![1, 2];
        assert_eq!(
            put_sized(&mut out, |out| {
                out.push(9);
                Err("no")
            }),
            Err("no")
        );
        assert_eq!(out, [1, 2]);
    }

    #[test]
    fn an_eleventh_group_is_refused() {
        assert_eq!(take_long(&mut [0xff_u8; 11].as_slice()), Err(WireError::Overlong));
        assert_eq!(take_bytes(&mut [1_u8].as_slice()), Err(WireError::Length(-1)));
    }
}
