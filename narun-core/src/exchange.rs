//! The exchange: one request and its response, as state machines without IO.
