//! The program `streams`.

mod case;
mod options;
mod report;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use narun_support::Server;

use self::case::{Bulk, GrpcCall, Launcher};
use self::options::{Part, StreamsOptions};
use self::report::{StreamsCell, StreamsReport};
use crate::Error;
use crate::goal::Goal;

/// Memory that a process may need in addition to its window, in MiB.
const BESIDE_WINDOW: f64 = 16.0;

/// Memory that a process may need for slow readers: for each reader, and in addition.
const PER_READER_KIB: f64 = 192.0;
const BESIDE_READERS: f64 = 64.0;

/// The window of the cases that have goals.
const WINDOW_KIB: u64 = 1024;

/// The processes whose memory is checked.
const OURS: [&str; 2] = ["gateway", "consumer"];

/// Runs the program with the arguments of this process.
#[must_use]
pub fn main() -> ExitCode {
    match run(&StreamsOptions::parse()) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(failures) => {
            eprintln!("{failures} transfers failed");
            ExitCode::FAILURE
        }
        Err(error) => crate::failed(&error),
    }
}

/// Returns how many transfers failed.
fn run(options: &StreamsOptions) -> Result<u64, Error> {
    let mut report = StreamsReport::new(options.json);
    for part in &options.part {
        // A server of its own, so that its memory is that of this part.
        let nats = Server::start()?;
        match part {
            Part::Bulk => bulk(options, &nats, &mut report)?,
            Part::Small => small(options, &nats, &mut report)?,
            Part::Readers => readers(options, &nats, &mut report)?,
            Part::Grpc => grpc(options, &nats, &mut report)?,
        }
    }
    report.checks()?;
    Ok(report.failures())
}

fn bulk(options: &StreamsOptions, nats: &Server, report: &mut StreamsReport) -> Result<(), Error> {
    for &window in &options.window {
        for &at_once in &options.at_once {
            let launcher = Launcher { nats, workers: options.workers, window_kib: window };
            let cases: Vec<_> = options.bulk().collect();
            let mut groups =
                cases.iter().map(|case| case.start(&launcher, at_once)).collect::<Result<Vec<_>, _>>()?;
            options.pace.run(&mut groups)?;
            let setting = format!("{window} KiB x {at_once}");
            let mut ideal = None;
            for (case, group) in cases.into_iter().zip(groups) {
                let figures = group.finish();
                let speed = figures.rps;
                if case == Bulk::Credit {
                    ideal = Some(speed);
                }
                let alone = at_once == 1 && window == WINDOW_KIB;
                if let Some(ideal) = ideal.filter(|_| case != Bulk::Credit) {
                    let goal = (alone && case.is_unending()).then_some(Goal::AtLeast(0.6));
                    report.check(&setting, &format!("MiB/s {case}/credit"), Some(speed / ideal), goal);
                }
                if let Some(grown) = figures.grown_mib.as_ref().filter(|_| at_once == 1) {
                    for process in OURS.into_iter().filter(|_| case != Bulk::Credit) {
                        let goal = Goal::AtMost(window as f64 / 1024.0 + BESIDE_WINDOW);
                        let what = format!("MiB of the {process}, {case}");
                        report.check(&setting, &what, grown.of(process), Some(goal));
                    }
                }
                report.cell(&StreamsCell { setting: setting.clone(), case: case.to_string(), figures })?;
            }
        }
    }
    Ok(())
}

fn small(options: &StreamsOptions, nats: &Server, report: &mut StreamsReport) -> Result<(), Error> {
    let launcher = Launcher { nats, workers: options.workers, window_kib: WINDOW_KIB };
    let beside = (options.streams, options.pace_mib);
    let mut groups = vec![launcher.small(options.small, None)?, launcher.small(options.small, Some(beside))?];
    options.pace.run(&mut groups)?;
    let setting = format!("{} x {} MiB/s", options.streams, options.pace_mib);
    let mut p99 = Vec::new();
    for (case, group) in ["small", "beside"].into_iter().zip(groups) {
        let figures = group.finish();
        p99.push(figures.p99_us);
        report.cell(&StreamsCell { setting: setting.clone(), case: case.to_owned(), figures })?;
    }
    if let [alone, beside] = p99[..] {
        report.check(
            &setting,
            "p99 of small requests, beside/alone",
            Some(beside / alone),
            Some(Goal::AtMost(8.0)),
        );
    }
    Ok(())
}

fn readers(options: &StreamsOptions, nats: &Server, report: &mut StreamsReport) -> Result<(), Error> {
    let launcher = Launcher { nats, workers: options.workers, window_kib: WINDOW_KIB };
    let mut group = launcher.readers(options.readers, options.read_kib)?;
    group.round(Duration::from_secs(5), options.read_seconds)?;
    let figures = group.finish();
    let setting = format!("{} x {} B/s", options.readers, options.read_kib * 1024 / options.readers as u64);
    let starved: u64 = figures.failures.values().sum();
    report.check(&setting, "readers that starved", Some(starved as f64), Some(Goal::AtMost(0.0)));
    if let Some(grown) = &figures.grown_mib {
        let most = options.readers as f64 * PER_READER_KIB / 1024.0 + BESIDE_READERS;
        for process in OURS {
            let what = format!("MiB of the {process}, readers");
            report.check(&setting, &what, grown.of(process), Some(Goal::AtMost(most)));
        }
    }
    report.cell(&StreamsCell { setting, case: "readers".to_owned(), figures })
}

fn grpc(options: &StreamsOptions, nats: &Server, report: &mut StreamsReport) -> Result<(), Error> {
    let launcher = Launcher { nats, workers: options.workers, window_kib: WINDOW_KIB };
    for &at_once in &options.at_once {
        let mut groups =
            GrpcCall::ALL.iter().map(|call| launcher.grpc(*call, at_once)).collect::<Result<Vec<_>, _>>()?;
        options.pace.run(&mut groups)?;
        let setting = format!("200 B x {at_once}");
        let mut speeds = Vec::new();
        for (call, group) in GrpcCall::ALL.into_iter().zip(groups) {
            let figures = group.finish();
            speeds.push(figures.rps);
            report.cell(&StreamsCell { setting: setting.clone(), case: call.to_string(), figures })?;
        }
        if let [direct_unary, narun_unary, direct_stream, narun_stream] = speeds[..] {
            report.check(&setting, "gRPC calls narun/direct", Some(narun_unary / direct_unary), None);
            report.check(&setting, "gRPC messages narun/direct", Some(narun_stream / direct_stream), None);
        }
    }
    Ok(())
}
