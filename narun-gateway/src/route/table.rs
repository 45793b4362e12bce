use std::fmt;
use std::sync::Arc;

use http::Method;

use super::Route;
use super::allowed::AllowedMethods;
use super::error::RouteError;
use super::hash::TextMap;
use super::host::{self, HostPattern};
use super::tree::Tree;

#[cfg(test)]
mod tests;

/// All routes of a gateway, compiled for look-ups, with a prepared value for each.
///
/// Immutable: changed routes make a new table. [`Route`] documents which route wins.
pub(crate) struct RouteTable<T> {
    prepared: Box<[Arc<T>]>,
    hosts: Hosts,
}

/// Routes by host. Routes are numbers.
#[derive(Debug, Default)]
pub(crate) struct Hosts {
    exact: TextMap<Tree>,
    /// By the name after `*.`.
    below: TextMap<Tree>,
    /// The lengths of the keys of `below`, longest first, which bound the look-ups for a host with many dots.
    lengths: Vec<usize>,
    any: Tree,
    /// All routes with a host, for requests whose host is invalid. Of those with the same path and method, it has one.
    named: Tree,
}

impl<T> RouteTable<T> {
    /// Compiles the routes. `prepare` is called once for each, in their order, if all are valid.
    ///
    /// # Errors
    ///
    /// The first route that is invalid or conflicts with another, or the error of `prepare`.
    pub(crate) fn new(
        routes: impl IntoIterator<Item = Route>,
        mut prepare: impl FnMut(&Route) -> Result<T, RouteError>,
    ) -> Result<Self, RouteError> {
        let routes: Vec<Route> = routes.into_iter().collect();
        let mut hosts = Hosts::default();
        for (number, route) in routes.iter().enumerate() {
            hosts.insert(route, number)?.map_err(|other| RouteError::Conflict {
                route: route.to_string(),
                with: routes[other].to_string(),
            })?;
        }
        let prepared = routes.iter().map(|route| prepare(route).map(Arc::new)).collect::<Result<_, _>>()?;
        Ok(Self { prepared, hosts })
    }

    /// Finds the most specific route of a request. Returns `None` if no route has its host, path and method.
    ///
    /// `host` is a valid host. Its port and trailing dot are ignored. `path` is matched without decoding. Does not allocate.
    pub(crate) fn find(&self, host: Option<&str>, method: &Method, path: &str) -> Option<&Arc<T>> {
        let number = self.hosts.visit(host, |tree| tree.find(path, method))?;
        Some(&self.prepared[number])
    }

    /// Finds a route that has the path and method of a request, whatever its host is. Does not allocate.
    pub(crate) fn find_for_any_host(&self, method: &Method, path: &str) -> Option<&Arc<T>> {
        let Hosts { any, named, .. } = &self.hosts;
        let number = any.find(path, method).or_else(|| named.find(path, method))?;
        Some(&self.prepared[number])
    }

    /// The methods of the routes with this host and path, for a 405. Returns `None` if there is no such route, or if one takes
    /// the method.
    pub(crate) fn allowed(&self, host: Option<&str>, method: &Method, path: &str) -> Option<AllowedMethods> {
        if self.find(host, method, path).is_some() {
            return None;
        }
        let mut methods = Vec::new();
        self.hosts.visit(host, |tree| {
            tree.methods(path, &mut methods);
            None
        });
        (!methods.is_empty()).then(|| AllowedMethods::new(methods))
    }

    /// The prepared values, in the order of the routes.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<T>> {
        self.prepared.iter()
    }
}

impl Hosts {
    /// Inserts a route. The inner error is the number of the route that it conflicts with.
    pub(crate) fn insert(&mut self, route: &Route, number: usize) -> Result<Result<(), usize>, RouteError> {
        let checked = route.check()?;
        if checked.host != HostPattern::Any {
            for pattern in &checked.patterns {
                self.named.insert_new(pattern, &route.methods, number);
            }
        }
        let tree = match checked.host {
            HostPattern::Any => &mut self.any,
            HostPattern::Exact(host) => self.exact.entry(host.into_boxed_bytes()).or_default(),
            HostPattern::Below(parent) => {
                if let Err(place) = self.lengths.binary_search_by(|length| parent.len().cmp(length)) {
                    self.lengths.insert(place, parent.len());
                }
                self.below.entry(parent.into_boxed_bytes()).or_default()
            }
        };
        Ok(checked.patterns.iter().try_for_each(|pattern| tree.insert(pattern, &route.methods, number)))
    }

    /// Visits the trees of all patterns that match a host, the most specific first, until `visit` returns a route.
    fn visit(&self, host: Option<&str>, mut visit: impl FnMut(&Tree) -> Option<usize>) -> Option<usize> {
        if (!self.exact.is_empty() || !self.below.is_empty())
            && let Some(host) = host
            && let Some(lower) = host::key(host, &mut [0; host::MAX_LEN])
        {
            if let Some(tree) = self.exact.get(lower)
                && let Some(found) = visit(tree)
            {
                return Some(found);
            }
            for &length in &self.lengths {
                // At least a label and a dot precede the parent's name.
                let Some(dot) = lower.len().checked_sub(length + 1).filter(|dot| *dot > 0) else { continue };
                if lower[dot] == b'.'
                    && let Some(tree) = self.below.get(&lower[dot + 1..])
                    && let Some(found) = visit(tree)
                {
                    return Some(found);
                }
            }
        }
        visit(&self.any)
    }
}

/// The table without routes.
impl<T> Default for RouteTable<T> {
    fn default() -> Self {
        Self { prepared: Box::default(), hosts: Hosts::default() }
    }
}

impl<T: fmt::Debug> fmt::Debug for RouteTable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.prepared).finish()
    }
}
