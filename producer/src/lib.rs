//! stub

pub mod decode;
