//! narun-consumer
