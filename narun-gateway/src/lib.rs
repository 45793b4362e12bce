//! narun-gateway
