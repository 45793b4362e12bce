//! narun-core
