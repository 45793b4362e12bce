use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use data_encoding::BASE64URL_NOPAD;
use rand::Rng;

use super::Mailbox;

/// The open tokens below the one wildcard subject that a process subscribes to.
#[derive(Debug)]
pub(super) struct Inbox {
    /// The prefix of every token's subject: `<client's inbox prefix>.<random>.`
    prefix: String,
    entries: Mutex<Entries>,
}

/// Each open token's mailbox, and the number of the token there.
type Entries = HashMap<Token, (Arc<Mailbox>, u8), BuildHasherDefault<TokenHasher>>;

/// The last token of a reply subject: 128 random bits, base64url.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token([u8; LENGTH]);

const LENGTH: usize = 22;

impl Token {
    /// A token from a cryptographic generator. Anyone who knows a token can take part in its exchange.
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
    /// Hides the text: a token in a log would let its reader take part in the exchange.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Hashes a token by eight of its bytes, as tokens are random already.
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
    /// An inbox with a new random token below `prefix`.
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

    /// Opens a token of this number for a mailbox.
    pub(super) fn open(&self, mailbox: &Arc<Mailbox>, number: u8) -> Token {
        let token = Token::random();
        self.entries().insert(token, (mailbox.clone(), number));
        token
    }

    pub(super) fn close(&self, token: Token) {
        // The mailbox is dropped after the lock is released.
        let entry = self.entries().remove(&token);
        drop(entry);
    }

    /// The mailbox of a subject, and the number of the token there. Returns `None` if the token is not open.
    pub(super) fn find(&self, subject: &str) -> Option<(Arc<Mailbox>, u8)> {
        let token = Token(subject.strip_prefix(&self.prefix)?.as_bytes().try_into().ok()?);
        self.entries().get(&token).cloned()
    }

    /// All mailboxes, each once.
    pub(super) fn mailboxes(&self) -> Vec<Arc<Mailbox>> {
        self.entries()
            .values()
            .filter(|(_, number)| *number == 0)
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

/// The open tokens of one exchange, which share a mailbox. Dropping it closes them.
#[derive(Debug)]
pub struct Registration {
    inbox: Arc<Inbox>,
    mailbox: Arc<Mailbox>,
    /// Token 0, and the others, which are rare.
    first: Option<Token>,
    others: Vec<Token>,
}

impl Registration {
    pub(super) const fn new(inbox: Arc<Inbox>, mailbox: Arc<Mailbox>) -> Self {
        Self { inbox, mailbox, first: None, others: Vec::new() }
    }

    /// The reply subject of a token, which is opened on the first call, with all of lower numbers.
    ///
    /// A gateway has a token for each attempt of a request, from 0; a consumer has token 0 alone.
    pub fn reply(&mut self, number: u8) -> String {
        let opened = usize::from(self.first.is_some()) + self.others.len();
        for missing in (0..=number).skip(opened) {
            let token = self.inbox.open(&self.mailbox, missing);
            match self.first {
                None => self.first = Some(token),
                Some(_) => self.others.push(token),
            }
        }
        let token = match usize::from(number).checked_sub(1) {
            None => self.first,
            Some(other) => self.others.get(other).copied(),
        };
        token.map(|token| self.inbox.reply(token)).unwrap_or_default()
    }

    /// The mailbox in which messages to any of the tokens arrive.
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
