//! The operations, through gRPC and directly.

use super::options::GrpcOptions;
use super::programs::{nats, service, start};
use super::report::GrpcReport;
use crate::Error;
use crate::goal::Goal;
use crate::group::Group;
use crate::process::Process;
use crate::role::{BATCH, Job, Operation, Role, SUBSCRIBERS};

/// Measures one operation after the other; the ways to do each take turns.
pub(super) fn run(options: &GrpcOptions, report: &mut GrpcReport) -> Result<(), Error> {
    for &operation in &options.operation {
        let nats = nats()?;
        let (nats_url, connections, body) =
            (nats.url().to_owned(), operation.at_a_time(options.in_flight), options.body);
        // A client has one thread in all cases, so that it costs the same.
        let client = |role| Process::start("client", &Job { workers: None, role });

        let echo = start(options, "echo", Role::Echo)?;
        let role = Role::EchoClient { to: echo.address().parse()?, connections: options.in_flight, body };
        let echo = Group::new(client(role)?, vec![echo], None);
        let role = Role::DirectClient { nats: nats_url.clone(), operation, connections, body };
        let direct = Group::new(client(role)?, Vec::new(), nats.pid());
        let service = service(options, &nats)?;
        let to = service.address().parse()?;
        let role = Role::NatsGrpcClient { to, nats: nats_url, operation, connections, body };
        let grpc = Group::new(client(role)?, vec![service], nats.pid());

        let mut groups = [echo, direct, grpc];
        options.pace.run(&mut groups)?;
        let [echo, direct, grpc] = groups.map(Group::finish);
        for (way, figures) in [("echo", &echo), ("direct", &direct), ("gRPC", &grpc)] {
            report.figures(operation.name(), way, figures)?;
        }
        let (echo, direct, grpc) = (echo.rps, direct.rps, grpc.rps);
        let name = operation.name();
        match operation {
            Operation::Publish | Operation::PullAndAck | Operation::KvPut | Operation::KvGet => {
                let ideal = 1.0 / (operation.calls() / echo + 1.0 / direct);
                report.check(format!("{name} / ideal"), Some(grpc / ideal), Goal::AtLeast(0.8));
            }
            Operation::PublishBatch => {
                let messages = BATCH as f64;
                report.note(&format!(
                    "  messages/s: {:.0} direct, {:.0} gRPC",
                    direct * messages,
                    grpc * messages
                ));
                report.check(format!("{name} / async-nats"), Some(grpc / direct), Goal::AtLeast(0.5));
            }
            Operation::FanOut => {
                let messages = (BATCH * SUBSCRIBERS) as f64;
                report.note(&format!(
                    "  messages/s: {:.0} direct, {:.0} gRPC",
                    direct * messages,
                    grpc * messages
                ));
                report.check(format!("{name} / async-nats"), Some(grpc / direct), Goal::AtLeast(0.4));
            }
        }
    }
    Ok(())
}
