//! Column text in its character set, to UTF-8.
