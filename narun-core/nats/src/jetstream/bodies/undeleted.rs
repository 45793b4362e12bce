use std::fmt::Display;

use narun_core::frame::ObjectRef;

use crate::events::{RepeatedEvents, Summary};

/// The log of bodies that are not needed and could not be deleted: they stay in the bucket. Of those that follow each other,
/// only the first is logged at once.
#[derive(Debug, Default)]
pub struct UndeletedBodies(RepeatedEvents<()>);

impl UndeletedBodies {
    /// Logs a body.
    pub fn log(&self, object: &ObjectRef, why: &dyn Display) {
        self.log_name(&object.bucket, &object.name, why);
    }

    /// Logs a body with this name.
    pub(super) fn log_name(&self, bucket: &str, name: &str, why: &dyn Display) {
        if self.0.is_first(&(), name) {
            tracing::warn!(bucket, name, %why, "a body that is not needed could not be deleted");
        }
    }

    /// Logs how many there were like one that was logged. Never completes.
    pub async fn summarize(&self) {
        let log = |(), Summary { count, last }| {
            tracing::warn!(count, last, "more bodies could not be deleted");
        };
        self.0.summarize(log).await;
    }
}

#[cfg(test)]
mod tests {
    use narun_support::testing::Logs;

    use super::*;

    #[test]
    fn a_body_is_logged_once() {
        let (logs, undeleted) = (Logs::capture(), UndeletedBodies::default());
        let object = ObjectRef { bucket: "b".to_owned(), name: "n".to_owned(), size: 1, digest: [0; 32] };
        for _ in 0..3 {
            undeleted.log(&object, &"of this test");
        }
        let text = "a body that is not needed could not be deleted";
        assert_eq!(logs.events(text, &[("name", "n"), ("why", "of this test")]).len(), 1);
    }
}
