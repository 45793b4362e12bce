use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use data_encoding::BASE64URL_NOPAD;
use rand::Rng;

use super::Mailbox;

/// A process's one wildcard subscription, and the exchanges that messages to it are for.
#[derive(Debug)]
pub(super) struct Inbox {
    /// `<client's inbox prefix>.<random>.`, what every token's subject begins with.
    prefix: String,
    entries: Mutex<Entries>,
}

/// An open token's mailbox, and the number of its attempt.
type Entries = HashMap<Token, (Arc<Mailbox>, u8), BuildHasherDefault<TokenHasher>>;

/// The last token of a reply subject: 128 random bits, base64url.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token([u8; LENGTH]);

const LENGTH: usize = 22;

impl Token {
    /// A token nobody can guess: whoever knows it can speak in the exchange.
    pub(super) fn random() -> Self {
        let mut bits = [0; 16];
        rand::rng().fill_bytes(&mut bits);
        let mut text = [0; LENGTH];
        BASE64URL_NOPAD.encode_mut(&bits, &mut text);
        Self(text)
    }

    /// The token's text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for Token {
    /// Whoever reads logs must not be able to join an exchange.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Tokens are random already: eight of their bytes, spread over the word, are hash enough.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TokenHasher(u64);

impl Hasher for TokenHasher {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(head) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*head).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(26);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Inbox {
    /// An inbox of its own below this prefix.
    pub(super) fn new(prefix: &str) -> Self {
        let prefix = format!("{prefix}.{}.", Token::random().as_str());
        Self { prefix, entries: Mutex::default() }
    }

    /// The subject to subscribe to.
    pub(super) fn subject(&self) -> String {
        format!("{}*", self.prefix)
    }

    /// The reply subject of a token.
    pub(super) fn reply(&self, token: Token) -> String {
        let mut subject = String::with_capacity(self.prefix.len() + LENGTH);
        subject.push_str(&self.prefix);
        subject.push_str(token.as_str());
        subject
    }

    /// Opens a token for a mailbox.
    pub(super) fn open(&self, mailbox: &Arc<Mailbox>, attempt: u8) -> Token {
        let token = Token::random();
        self.entries().insert(token, (mailbox.clone(), attempt));
        token
    }

    pub(super) fn close(&self, token: Token) {
        // The mailbox is dropped after the lock is let go.
        let entry = self.entries().remove(&token);
        drop(entry);
    }

    /// The mailbox and attempt that a subject is for.
    pub(super) fn find(&self, subject: &str) -> Option<(Arc<Mailbox>, u8)> {
        let token = Token(subject.strip_prefix(&self.prefix)?.as_bytes().try_into().ok()?);
        self.entries().get(&token).cloned()
    }

    /// All mailboxes, each once for every open token.
    pub(super) fn mailboxes(&self) -> Vec<Arc<Mailbox>> {
        self.entries()
            .values()
            .filter(|(_, attempt)| *attempt == 0)
            .map(|(mailbox, _)| mailbox.clone())
            .collect()
    }

    pub(super) fn len(&self) -> usize {
        self.entries().len()
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An exchange's open tokens; dropping it closes them.
#[derive(Debug)]
pub struct Registration {
    inbox: Arc<Inbox>,
    mailbox: Arc<Mailbox>,
    /// The token of attempt 0, and those of the others, which are rare.
    first: Option<Token>,
    others: Vec<Token>,
}

impl Registration {
    pub(super) const fn new(inbox: Arc<Inbox>, mailbox: Arc<Mailbox>) -> Self {
        Self { inbox, mailbox, first: None, others: Vec::new() }
    }

    /// The reply subject of an attempt, whose token is opened if need be. Attempts are counted up from 0.
    pub fn reply(&mut self, attempt: u8) -> String {
        let opened = usize::from(self.first.is_some()) + self.others.len();
        for missing in (0..=attempt).skip(opened) {
            let token = self.inbox.open(&self.mailbox, missing);
            match self.first {
                None => self.first = Some(token),
                Some(_) => self.others.push(token),
            }
        }
        let token = match usize::from(attempt).checked_sub(1) {
            None => self.first,
            Some(other) => self.others.get(other).copied(),
        };
        token.map(|token| self.inbox.reply(token)).unwrap_or_default()
    }

    /// Where its messages arrive.
    pub const fn mailbox(&self) -> &Arc<Mailbox> {
        &self.mailbox
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        for token in self.first.into_iter().chain(self.others.drain(..)) {
            self.inbox.close(token);
        }
    }
}
