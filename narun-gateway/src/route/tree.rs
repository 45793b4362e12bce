use std::cmp::Reverse;

use http::Method;

use super::hash::TextMap;
use super::pattern::{Pattern, Segment};

/// The paths of one host as a tree of segments.
///
/// A look-up walks it depth first, the more specific branch first, so that the first route found is the most specific
/// one that takes the method. It visits each node at most once and does not allocate. (matchit's own tree allocates when it
/// skips a more general branch, and refuses `/{*rest}` beside `/{id}/x`.)
#[derive(Debug, Default)]
pub(crate) struct Tree {
    root: Node,
}

/// The branches after a slash.
#[derive(Debug, Default)]
struct Node {
    texts: TextMap<Next>,
    /// From the most to the least specific.
    parameters: Vec<Parameter>,
}

/// The branches after a segment: the end of the path, or a slash.
#[derive(Debug, Default)]
struct Next {
    end: Methods,
    slash: Option<Box<Node>>,
}

#[derive(Debug)]
struct Parameter {
    before: Box<str>,
    after: Box<str>,
    /// Whether it takes the rest of the path, so that only the end can follow.
    rest: bool,
    next: Next,
}

/// The routes of one path by method. Routes are numbers.
#[derive(Debug, Default)]
pub(crate) struct Methods {
    any: Option<usize>,
    named: Vec<(Method, usize)>,
}

impl Tree {
    /// Inserts a route.
    ///
    /// # Errors
    ///
    /// The route that already has this path and one of these methods.
    pub(crate) fn insert(
        &mut self,
        pattern: &Pattern,
        methods: &[Method],
        route: usize,
    ) -> Result<(), usize> {
        self.root.end_of(pattern).insert(methods, route)
    }

    /// Inserts a route for those of its methods that no other route with this path has.
    pub(crate) fn insert_new(&mut self, pattern: &Pattern, methods: &[Method], route: usize) {
        self.root.end_of(pattern).insert_new(methods, route);
    }

    /// The most specific route with this path and method.
    pub(crate) fn find(&self, path: &str, method: &Method) -> Option<usize> {
        let relative = path.strip_prefix('/')?;
        self.root.find(relative, &mut |methods| methods.find(method))
    }

    /// Appends the methods of all routes with this path.
    pub(crate) fn methods(&self, path: &str, into: &mut Vec<Method>) {
        if let Some(relative) = path.strip_prefix('/') {
            self.root.find(relative, &mut |methods| {
                into.extend(methods.named.iter().map(|(method, _)| method.clone()));
                None
            });
        }
    }
}

impl Node {
    /// The routes of a pattern.
    fn end_of(&mut self, pattern: &Pattern) -> &mut Methods {
        let Some((first, following)) = pattern.segments.split_first() else {
            return self.rest(pattern.rest.as_deref().unwrap_or_default());
        };
        let mut next = self.next(first);
        for segment in following {
            next = next.slash.get_or_insert_default().next(segment);
        }
        match &pattern.rest {
            None => &mut next.end,
            Some(before) => next.slash.get_or_insert_default().rest(before),
        }
    }

    fn next(&mut self, segment: &Segment) -> &mut Next {
        match segment {
            Segment::Text(text) => self.texts.entry(text.as_bytes().into()).or_default(),
            Segment::Parameter { before, after } => self.parameter(before, after, false),
        }
    }

    fn rest(&mut self, before: &str) -> &mut Methods {
        &mut self.parameter(before, "", true).end
    }

    fn parameter(&mut self, before: &str, after: &str, rest: bool) -> &mut Next {
        let order = (Reverse(before.len()), rest, Reverse(after.len()), before, after);
        let place = self.parameters.binary_search_by(|parameter| parameter.order().cmp(&order));
        let place = place.unwrap_or_else(|place| {
            let (before, after) = (before.into(), after.into());
            self.parameters.insert(place, Parameter { before, after, rest, next: Next::default() });
            place
        });
        &mut self.parameters[place].next
    }

    fn find(&self, path: &str, accept: &mut impl FnMut(&Methods) -> Option<usize>) -> Option<usize> {
        let (segment, below) = match path.bytes().position(|byte| byte == b'/') {
            Some(slash) => (&path[..slash], Some(&path[slash + 1..])),
            None => (path, None),
        };
        if let Some(next) = self.texts.get(segment.as_bytes())
            && let Some(route) = next.find(below, accept)
        {
            return Some(route);
        }
        self.parameters.iter().find_map(|parameter| {
            let (text, below) = if parameter.rest { (path, None) } else { (segment, below) };
            if parameter.matches(text) { parameter.next.find(below, accept) } else { None }
        })
    }
}

impl Next {
    fn find(&self, below: Option<&str>, accept: &mut impl FnMut(&Methods) -> Option<usize>) -> Option<usize> {
        match below {
            None => accept(&self.end),
            Some(below) => self.slash.as_ref()?.find(below, accept),
        }
    }
}

impl Parameter {
    fn order(&self) -> (Reverse<usize>, bool, Reverse<usize>, &str, &str) {
        (Reverse(self.before.len()), self.rest, Reverse(self.after.len()), &self.before, &self.after)
    }

    /// Whether the text begins and ends as the parameter requires, with at least one byte between.
    fn matches(&self, text: &str) -> bool {
        // Usually both are empty. Comparing no bytes would call memcmp with a dangling address, and the masked load of its
        // vector versions then takes some 40 ns.
        text.len() > self.before.len() + self.after.len()
            && (self.before.is_empty() || text.starts_with(&*self.before))
            && (self.after.is_empty() || text.ends_with(&*self.after))
    }
}

impl Methods {
    fn insert(&mut self, methods: &[Method], route: usize) -> Result<(), usize> {
        if methods.is_empty() {
            return self.any.replace(route).map_or(Ok(()), Err);
        }
        for method in methods {
            match self.named(method) {
                // The route names the method twice.
                Some(same) if same == route => {}
                Some(other) => return Err(other),
                None => self.named.push((method.clone(), route)),
            }
        }
        Ok(())
    }

    fn insert_new(&mut self, methods: &[Method], route: usize) {
        if methods.is_empty() {
            self.any.get_or_insert(route);
        }
        for method in methods {
            if self.named(method).is_none() {
                self.named.push((method.clone(), route));
            }
        }
    }

    fn find(&self, method: &Method) -> Option<usize> {
        self.named(method)
            .or_else(|| if *method == Method::HEAD { self.named(&Method::GET) } else { None })
            .or(self.any)
    }

    fn named(&self, method: &Method) -> Option<usize> {
        self.named.iter().find(|(named, _)| named == method).map(|(_, route)| *route)
    }
}
