//! The program `cpu`.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use narun_support::Server;
use serde_json::json;

use crate::Error;
use crate::figures::{Figures, rounded};
use crate::goal::Goal;
use crate::group::Group;
use crate::pace::Pace;
use crate::process::Process;
use crate::role::{DeliveryKind, Job, NatsApp, Role, Work};

/// CPU time that the handler uses up per request.
const BURN: Duration = Duration::from_millis(5);

/// The rate of two workers, relative to one.
const GOAL: Goal = Goal::AtLeast(1.6);

/// The failure text of a refused request: its status.
const REFUSED: &str = "503";

/// Measures a CPU-bound handler on one worker thread, on two, and under overload.
#[derive(Clone, Debug, Parser)]
struct CpuOptions {
    #[command(flatten)]
    pace: Pace,

    /// Requests at a time
    #[arg(long, default_value_t = 64)]
    connections: usize,

    /// JSON, a line per case and one for the ratio, instead of a table
    #[arg(long)]
    json: bool,
}

/// A consumer, and whether some of its requests must be refused.
#[derive(Clone, Copy, Debug)]
struct CpuCase {
    name: &'static str,
    workers: usize,
    work: Work,
    is_overload: bool,
}

/// Runs the program with the arguments of this process.
#[must_use]
pub fn main() -> ExitCode {
    crate::exit_code(run(&CpuOptions::parse()))
}

/// Returns whether all responses were as expected.
fn run(options: &CpuOptions) -> Result<bool, Error> {
    let nats = Server::start()?;
    let cases = CpuCase::all();
    let mut groups = Vec::new();
    for case in &cases {
        groups.push(case.start(&nats, options.connections)?);
    }
    options.pace.run(&mut groups)?;
    let figures: Vec<_> = groups.into_iter().map(Group::finish).collect();

    if !options.json {
        println!("case        {}", Figures::HEAD);
    }
    for (CpuCase { name, .. }, figures) in cases.iter().zip(&figures) {
        if options.json {
            let mut line = figures.json();
            line["case"] = (*name).into();
            println!("{line}");
        } else {
            println!("{name:<12} {}", figures.row());
        }
        for (text, count) in &figures.failures {
            eprintln!("{name}: {count} times {text}");
        }
    }
    if let [one, two, ..] = figures.as_slice() {
        let ratio = rounded(two.rps / one.rps);
        let met = GOAL.met([Some(ratio)]);
        if options.json {
            println!(
                "{}",
                json!({ "ratio": "rps workers/2 / workers/1", "value": ratio, "goal": GOAL, "met": met })
            );
        } else {
            let met = if met == Some(true) { "met" } else { "MISSED" };
            println!("\nrps workers/2 / workers/1: {ratio:.2}, goal {GOAL} {met}");
        }
    }
    Ok(cases.iter().zip(&figures).all(|(case, figures)| case.is_as_expected(figures)))
}

impl CpuCase {
    fn all() -> [Self; 3] {
        let work = Work { burn: BURN, ..Work::default() };
        let overloaded = Work { concurrency: 4, queue: 4, ..work };
        [
            Self { name: "workers/1", workers: 1, work, is_overload: false },
            Self { name: "workers/2", workers: 2, work, is_overload: false },
            Self { name: "overload", workers: 2, work: overloaded, is_overload: true },
        ]
    }

    fn start(&self, nats: &Server, connections: usize) -> Result<Group, Error> {
        let at = NatsApp {
            nats: nats.url().to_owned(),
            app: self.name.replace('/', "-"),
            delivery: DeliveryKind::Direct,
        };
        let start = |name, workers, role| Process::start(name, &Job { workers, role });
        let role = Role::Consumer { at: at.clone(), work: self.work };
        let consumer = start("consumer", Some(self.workers), role)?;
        let gateway = start("gateway", None, Role::Gateway { at, routes: 1 })?;
        let to = gateway.address().parse()?;
        let client = start("client", None, Role::HttpClient { to, connections, body: 200, later: None })?;
        Ok(Group::new(client, vec![gateway, consumer], nats.pid()))
    }

    fn is_as_expected(&self, figures: &Figures) -> bool {
        let refused = figures.failures.contains_key(REFUSED);
        let others = figures.failures.keys().any(|text| text != REFUSED);
        figures.rps > 0.0 && refused == self.is_overload && !others
    }
}
