//! Consumers on a real nats-server, with a real gateway or with one that the tests drive by hand, frame by frame.

mod gate;
mod gateway;
mod harness;
mod logged;
mod lossy;

mod admission;
mod bad_days;
mod cluster;
mod declare;
mod durable;
mod ending;
mod failures;
mod grpc;
mod hostile;
mod observed;
mod permissions;
mod responses;
mod restart;
mod shutdown;
mod stream;
mod versions;
mod wire;
