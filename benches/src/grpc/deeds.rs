//! What is done over and over, through gRPC and straight.

use super::check::Report;
use super::options::Options;
use super::programs::{nats, service, start};
use crate::Error;
use crate::goal::Goal;
use crate::group::Group;
use crate::process::Process;
use crate::role::{BATCH, Deed, Job, Role, SUBSCRIBERS};

/// Takes the deeds one after the other, the ways to do each by turns.
pub(super) fn run(options: &Options, report: &mut Report) -> Result<(), Error> {
    for &deed in &options.deed {
        let nats = nats()?;
        let (nats_url, connections, body) =
            (nats.url().to_owned(), deed.at_a_time(options.in_flight), options.body);
        // The gauge: the same whatever it measures.
        let client = |role| Process::start("client", &Job { workers: None, role });

        let echo = start(options, "echo", Role::Echo)?;
        let role = Role::EchoClient { to: echo.address().parse()?, connections: options.in_flight, body };
        let echo = Group::new(client(role)?, vec![echo], None);
        let role = Role::DirectClient { nats: nats_url.clone(), deed, connections, body };
        let direct = Group::new(client(role)?, Vec::new(), nats.pid());
        let service = service(options, &nats)?;
        let to = service.address().parse()?;
        let role = Role::NatsGrpcClient { to, nats: nats_url, deed, connections, body };
        let grpc = Group::new(client(role)?, vec![service], nats.pid());

        let mut groups = [echo, direct, grpc];
        options.pace.run(&mut groups)?;
        let [echo, direct, grpc] = groups.map(Group::finish);
        for (way, figures) in [("echo", &echo), ("direct", &direct), ("gRPC", &grpc)] {
            report.figures(deed.name(), way, figures)?;
        }
        let (echo, direct, grpc) = (echo.rps, direct.rps, grpc.rps);
        let name = deed.name();
        match deed {
            Deed::Publish | Deed::PullAndAck | Deed::KvPut | Deed::KvGet => {
                let ideal = 1.0 / (deed.calls() / echo + 1.0 / direct);
                report.check(format!("{name} / ideal"), Some(grpc / ideal), Goal::AtLeast(0.8));
            }
            Deed::PublishBatch => {
                let messages = BATCH as f64;
                report.note(&format!(
                    "  messages/s: {:.0} direct, {:.0} gRPC",
                    direct * messages,
                    grpc * messages
                ));
                report.check(format!("{name} / async-nats"), Some(grpc / direct), Goal::AtLeast(0.5));
            }
            Deed::FanOut => {
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
