//! The value decoders: the row image's bytes against the text that the server itself prints.

mod charset;
mod decimal;
mod json;
mod temporal;
