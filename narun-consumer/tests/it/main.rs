//! A consumer on a real nats-server: with a gateway before it, or with one that the tests play by hand, frame by frame.

mod gate;
mod gateway;
mod harness;
mod lossy;

mod admission;
mod answers;
mod declare;
mod durable;
mod ending;
mod failures;
mod grpc;
mod hostile;
mod observed;
mod permissions;
mod restart;
mod shutdown;
mod stream;
mod versions;
mod wire;
