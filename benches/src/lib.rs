//! What the benches and load programs share.
