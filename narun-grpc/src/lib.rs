//! narun-grpc
