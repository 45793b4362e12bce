//! Compares the table with a matcher that tries each route.

use std::cmp::Reverse;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;

/// How specific a match is, by host, segments and method. Smaller is more specific.
type Rank = (HostRank, Vec<SegmentRank>, MethodRank);

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum HostRank {
    Exact,
    Below(Reverse<usize>),
    Any,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum SegmentRank {
    Text,
    Parameter { before: Reverse<usize>, rest: bool, after: Reverse<usize> },
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum MethodRank {
    Named,
    GetForHead,
    Any,
}

fn host_rank(route: &Route, host: Option<&str>) -> Option<HostRank> {
    let Some(wanted) = &route.host else { return Some(HostRank::Any) };
    let host = host?;
    match wanted.strip_prefix('*') {
        Some(parent) => {
            (host.ends_with(parent) && host != parent).then_some(HostRank::Below(Reverse(parent.len())))
        }
        None => (wanted == host).then_some(HostRank::Exact),
    }
}

/// The templates of a route. A prefix has two.
fn templates(route: &Route) -> Vec<String> {
    let mut templates = vec![route.path.clone()];
    if route.prefix {
        templates.push(format!("{}{{*rest}}", route.path));
    }
    templates
}

fn path_rank(template: &str, path: &str) -> Option<Vec<SegmentRank>> {
    let segment = template.split('/').next()?;
    let (text, below) = match (segment.contains('*'), path.split_once('/')) {
        (false, Some((text, below))) => (text, Some(below)),
        _ => (path, None),
    };
    let rank = match segment.split_once('{') {
        None => (segment == text).then_some(SegmentRank::Text)?,
        Some((before, parameter)) => {
            let (name, after) = parameter.split_once('}')?;
            let inner = text.strip_prefix(before)?.strip_suffix(after)?;
            let rest = name.starts_with('*');
            let (before, after) = (Reverse(before.len()), Reverse(after.len()));
            (!inner.is_empty()).then_some(SegmentRank::Parameter { before, rest, after })?
        }
    };
    let mut ranks = vec![rank];
    match (template.split_once('/'), below) {
        (None, None) => {}
        (Some((_, template)), Some(path)) => ranks.extend(path_rank(template, path)?),
        _ => return None,
    }
    Some(ranks)
}

fn method_rank(route: &Route, method: &Method) -> Option<MethodRank> {
    if route.methods.is_empty() {
        Some(MethodRank::Any)
    } else if route.methods.contains(method) {
        Some(MethodRank::Named)
    } else {
        (*method == Method::HEAD && route.methods.contains(&Method::GET)).then_some(MethodRank::GetForHead)
    }
}

fn rank(route: &Route, host: Option<&str>, method: &Method, path: &str) -> Option<Rank> {
    let path = templates(route).iter().filter_map(|template| path_rank(template, path)).min()?;
    Some((host_rank(route, host)?, path, method_rank(route, method)?))
}

fn allowed(routes: &[Route], host: Option<&str>, path: &str) -> Vec<String> {
    let mut methods: Vec<String> = routes
        .iter()
        .filter(|route| host_rank(route, host).is_some())
        .filter(|route| templates(route).iter().any(|template| path_rank(template, path).is_some()))
        .flat_map(|route| &route.methods)
        .flat_map(|method| if method == Method::GET { vec!["GET", "HEAD"] } else { vec![method.as_str()] })
        .map(str::to_owned)
        .collect();
    methods.sort();
    methods.dedup();
    methods
}

fn conflict(one: &Route, other: &Route) -> bool {
    let same_methods = match (one.methods.is_empty(), other.methods.is_empty()) {
        (true, true) => true,
        (false, false) => one.methods.iter().any(|method| other.methods.contains(method)),
        _ => false,
    };
    let same_path = templates(one).iter().any(|template| templates(other).contains(template));
    one.host == other.host && same_path && same_methods
}

fn methods() -> [Method; 4] {
    [Method::GET, Method::HEAD, Method::POST, Method::PUT]
}

fn route() -> impl Strategy<Value = Route> {
    let segment = select(vec!["", "a", "b", "ab", "ba", "{x}", "a{x}", "{x}b", "ab{x}", "{x}ab", "a{x}b"]);
    let segments = prop::collection::vec(segment, 0..4);
    let last = select(vec!["", "a", "b", "{x}", "{*rest}", "a{*rest}"]);
    let host = select(vec![None, None, Some("a.x"), Some("b.a.x"), Some("*.x"), Some("*.a.x")]);
    let methods = subsequence(methods().to_vec(), 0..3);
    (segments, last, host, methods, any::<bool>()).prop_map(|(mut segments, last, host, methods, prefix)| {
        segments.push(last);
        let mut route = Route::new(methods, format!("/{}", segments.join("/")), "app");
        route.host = host.map(str::to_owned);
        route.prefix = prefix && last.is_empty();
        route
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_table_finds_the_same_route_as_trying_each(
        candidates in prop::collection::vec(route(), 0..24),
        requests in prop::collection::vec(
            (
                select(vec![None, Some("a.x"), Some("b.a.x"), Some("c.b.a.x"), Some("x"), Some("c")]),
                select(methods().to_vec()),
                prop::collection::vec("[ab]{0,3}", 1..5),
            ),
            1..24,
        ),
    ) {
        let mut routes: Vec<Route> = Vec::new();
        for candidate in candidates {
            let expected = routes.iter().any(|route| conflict(route, &candidate));
            routes.push(candidate);
            let conflicts = RouteTable::new(routes.clone(), |_| Ok(())).is_err();
            prop_assert_eq!(conflicts, expected, "{:?}", routes);
            if conflicts {
                routes.pop();
            }
        }
        let mut numbers = 0..;
        let table = RouteTable::new(routes.clone(), |_| Ok(numbers.next().unwrap_or(0))).unwrap();
        for (host, method, path) in requests {
            let path = format!("/{}", path.join("/"));
            let ranked = routes.iter().enumerate();
            let ranked = ranked.filter_map(|(n, route)| Some((rank(route, host, &method, &path)?, n)));
            let found = table.find(host, &method, &path).map(|number| **number);
            prop_assert_eq!(found, ranked.min().map(|(_, number)| number), "{:?} {} {}", host, method, path);
            let allow = table.allowed(host, &method, &path).map(|methods| methods.to_string());
            let expected = Some(allowed(&routes, host, &path).join(", "));
            prop_assert_eq!(allow, expected.filter(|methods| found.is_none() && !methods.is_empty()));
        }
    }
}
