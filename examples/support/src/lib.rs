//! Finds, fetches and runs nats-server for development.
