//! Which column type holds every value of which other, and which holds those of two.

use crate::decode::types::{ColumnType, Scalar};

/// Whether every value of `needed` is held by `has` unchanged.
pub(super) fn holds(has: ColumnType, needed: ColumnType) -> bool {
    (has.nullable || !needed.nullable) && scalar_holds(has.scalar, needed.scalar)
}

pub(super) fn scalar_holds(has: Scalar, needed: Scalar) -> bool {
    match (has, needed) {
        (Scalar::Int(has), Scalar::Int(needed)) | (Scalar::UInt(has), Scalar::UInt(needed)) => has >= needed,
        (Scalar::Int(has), Scalar::UInt(needed)) => has > needed,
        (Scalar::UInt(_) | Scalar::Int(_), Scalar::Bool) => true,
        (Scalar::Float64, Scalar::Float32) => true,
        (Scalar::Decimal(precision, scale), Scalar::Decimal(needed_precision, needed_scale)) => {
            scale >= needed_scale && precision - scale >= needed_precision - needed_scale
        }
        (Scalar::DateTime64(digits), Scalar::DateTime64(needed)) | (Scalar::Time64(digits), Scalar::Time64(needed)) => {
            // With nine digits, 64 bits end in 2262.
            digits == needed || (needed..=8).contains(&digits)
        }
        _ => has == needed,
    }
}

/// The type that holds both, where ClickHouse can change the column to it without touching a value.
pub(super) fn widened(has: Scalar, needed: Scalar) -> Option<Scalar> {
    if scalar_holds(needed, has) {
        return Some(needed);
    }
    if scalar_holds(has, needed) {
        return Some(has);
    }
    match (has, needed) {
        (Scalar::Decimal(p1, s1), Scalar::Decimal(p2, s2)) => {
            let scale = s1.max(s2);
            let precision = (p1 - s1).max(p2 - s2).checked_add(scale).filter(|precision| *precision <= 76)?;
            Some(Scalar::Decimal(precision, scale))
        }
        (Scalar::Int(signed), Scalar::UInt(unsigned)) | (Scalar::UInt(unsigned), Scalar::Int(signed)) if unsigned < 64 => {
            Some(Scalar::Int(signed.max(unsigned * 2)))
        }
        _ => None,
    }
}
