//! Records that can't be loaded.
