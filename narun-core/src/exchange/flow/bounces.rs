/// Whether a frame that met "no responders" was DATA.
///
/// NATS does not state which frame it was, but reports one for each, in the order of publishing. So a report is one of DATA if
/// no other frame is left that it may be about.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::exchange) struct Bounces {
    /// Frames other than DATA that may still be reported: those up to the first question without a response, and later ones.
    first: u32,
    later: u32,
    /// Whether there is such a question.
    asked: bool,
}

impl Bounces {
    /// Notes a frame that is not DATA and names a reply.
    pub(in crate::exchange) const fn sent(&mut self) {
        if self.asked {
            self.later = self.later.saturating_add(1);
        } else {
            self.first = self.first.saturating_add(1);
        }
    }

    /// Notes that the last frame gets a response: [`Bounces::answered`] follows if it arrives.
    pub(in crate::exchange) const fn asked(&mut self) {
        self.asked = true;
    }

    /// Notes a response: all reports about earlier frames have arrived before it.
    pub(in crate::exchange) const fn answered(&mut self) {
        if self.asked {
            (self.first, self.later, self.asked) = (self.later, 0, false);
        }
    }

    /// Notes a report. Returns true if it is certainly about DATA.
    pub(in crate::exchange) const fn bounced(&mut self) -> bool {
        match (self.first, self.later) {
            (0, 0) => return true,
            (0, _) => self.later -= 1,
            _ => self.first -= 1,
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_about_data_if_it_can_be_about_nothing_else() {
        let mut bounces = Bounces::default();
        assert!(bounces.bounced());
        for _ in 0..3 {
            bounces.sent();
            bounces.asked();
        }
        assert_eq!([0; 4].map(|_| bounces.bounced()), [false, false, false, true]);
    }

    #[test]
    fn a_response_settles_what_was_sent_before_its_question() {
        let mut bounces = Bounces::default();
        bounces.sent();
        bounces.answered();
        assert!(!bounces.bounced());
        bounces.sent();
        bounces.sent();
        bounces.asked();
        bounces.answered();
        assert!(bounces.bounced());
        // The first response is the one to the first question.
        for _ in 0..3 {
            bounces.sent();
            bounces.asked();
        }
        bounces.answered();
        assert_eq!([0; 3].map(|_| bounces.bounced()), [false, false, true]);
    }
}
