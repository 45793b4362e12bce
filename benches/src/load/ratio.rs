//! Ratios between cases, and their goals.

use serde::Serialize;

use super::case::{LoadCase, Variant};
use super::cell::LoadCell;
use super::setting::Runtime;
use crate::figures::rounded;
use crate::goal::Goal;

/// A ratio, or a difference, of cells with the same body and number of connections.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Ratio {
    pub(super) ratio: String,
    pub(super) body: usize,
    pub(super) connections: usize,
    pub(super) current_thread: Option<f64>,
    pub(super) multi_thread: Option<f64>,
    pub(super) goal: Option<Goal>,
    /// Whether the better of both values meets the goal.
    pub(super) met: Option<bool>,
}

/// Durable cases whose clients wait for the response.
const DURABLE: [LoadCase; 2] = [LoadCase::DurableFile, LoadCase::DurableMemory];

/// Durable cases whose clients get 202 at once.
const ASYNC: [LoadCase; 2] = [LoadCase::AsyncFile, LoadCase::AsyncMemory];

/// The cells that differ only in the case.
#[derive(Clone, Copy, Debug)]
struct Peers<'a> {
    cells: &'a [LoadCell],
    runtime: Runtime,
    body: usize,
    connections: usize,
}

/// All ratios that these cells give.
pub(super) fn ratios(cells: &[LoadCell]) -> Vec<Ratio> {
    let mut loads: Vec<_> = cells.iter().map(|cell| (cell.setting.body, cell.setting.connections)).collect();
    loads.dedup();
    let all = loads.into_iter().flat_map(|(body, connections)| {
        let small = body < 16_384;
        let many = connections > 1;
        let new = |name: &str, goal: Option<Goal>, value: &dyn Fn(Peers<'_>) -> Option<f64>| {
            let of = |runtime| value(Peers { cells, runtime, body, connections }).map(rounded);
            let (current_thread, multi_thread) = (of(Runtime::CurrentThread), of(Runtime::MultiThread));
            let met = goal.and_then(|goal| goal.met([current_thread, multi_thread]));
            let ratio = name.to_owned();
            Ratio { ratio, body, connections, current_thread, multi_thread, goal, met }
        };
        let of_raw = Goal::AtLeast(if small { 0.5 } else { 0.9 });
        let mut ratios = vec![
            new("rps proxy/raw", None, &|peers| peers.rps(LoadCase::Proxy, LoadCase::Raw)),
            new("rps narun/raw", many.then_some(of_raw), &|peers| peers.rps(LoadCase::Narun, LoadCase::Raw)),
            new("rps narun/proxy", (small && many).then_some(Goal::AtLeast(1.2)), &|peers| {
                peers.rps(LoadCase::Narun, LoadCase::Proxy)
            }),
            new(
                "CPU (gateway+consumer)/(proxy+backend)",
                (small && many).then_some(Goal::AtMost(0.5)),
                &|peers| peers.cpu(),
            ),
        ];
        if !many {
            let goal = small.then_some(Goal::AtMost(40.0));
            ratios
                .push(new("p50 narun - raw, µs", goal, &|peers| peers.p50(LoadCase::Narun, LoadCase::Raw)));
            for case in DURABLE {
                let goal = (small && case == LoadCase::DurableFile).then_some(Goal::AtMost(120.0));
                let name = format!("p50 {case} - narun, µs");
                ratios.push(new(&name, goal, &|peers| peers.p50(case, LoadCase::Narun)));
            }
        }
        for case in DURABLE.into_iter().chain(ASYNC) {
            let least = match case {
                LoadCase::DurableFile => Some(Goal::AtLeast(0.2)),
                LoadCase::AsyncFile => Some(Goal::AtLeast(0.12)),
                _ => None,
            };
            let goal = least.filter(|_| small && connections == 64);
            ratios.push(new(&format!("rps {case}/raw"), goal, &|peers| peers.rps(case, LoadCase::Raw)));
        }
        ratios.extend(routes(cells).map(|[first, other]| {
            new(&format!("rps {other} : {first}"), None, &|peers| {
                Some(peers.variant(other)?.figures.rps / peers.variant(first)?.figures.rps)
            })
        }));
        ratios
    });
    all.filter(|ratio| ratio.current_thread.is_some() || ratio.multi_thread.is_some()).collect()
}

/// Pairs of the first number of routes and each other number.
fn routes(cells: &[LoadCell]) -> impl Iterator<Item = [Variant; 2]> {
    let mut variants = Vec::new();
    for variant in cells.iter().map(|cell| cell.setting.variant).filter(|found| found.case == LoadCase::Narun)
    {
        if !variants.contains(&variant) {
            variants.push(variant);
        }
    }
    let first = variants.first().copied();
    variants.into_iter().skip(1).filter_map(move |other| Some([first?, other]))
}

impl Peers<'_> {
    fn find(&self, wanted: impl Fn(Variant) -> bool) -> Option<&LoadCell> {
        self.cells.iter().find(|cell| {
            let setting = &cell.setting;
            setting.runtime == self.runtime
                && setting.body == self.body
                && setting.connections == self.connections
                && wanted(setting.variant)
        })
    }

    /// The cell of this case; the first one if there are several numbers of routes.
    fn case(&self, case: LoadCase) -> Option<&LoadCell> {
        self.find(|variant| variant.case == case)
    }

    fn variant(&self, wanted: Variant) -> Option<&LoadCell> {
        self.find(|variant| variant == wanted)
    }

    fn rps(&self, over: LoadCase, under: LoadCase) -> Option<f64> {
        Some(self.case(over)?.figures.rps / self.case(under)?.figures.rps)
    }

    fn cpu(&self) -> Option<f64> {
        let sum = |case, names| self.case(case)?.figures.cpu_us_per_req.as_ref()?.sum(names);
        Some(sum(LoadCase::Narun, &["gateway", "consumer"])? / sum(LoadCase::Proxy, &["proxy", "backend"])?)
    }

    fn p50(&self, of: LoadCase, less: LoadCase) -> Option<f64> {
        Some(self.case(of)?.figures.p50_us - self.case(less)?.figures.p50_us)
    }
}
