use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::uri::Scheme;
use http::{HeaderMap, Method, Request, request};

use super::reader::Reader;
use super::target::{self, Target};
use super::text::millis;
use super::writer::{FRAMING, STRING, Writer, append_uint};
use super::{DecodeError, EncodeError, Kind, ObjectRef, OutcomeRef, VERSION, fields, key, peer};
use crate::fields::Edit;
use crate::{ExchangeId, Limits};

/// Bytes that the numbers, the id and the peer's address of a REQUEST take at most, with their keys.
const NUMBERS: usize = 100;

/// A decoded REQUEST: the head of the exchange, the HTTP head, and the inline body.
#[derive(Clone, Debug)]
pub struct RequestFrame {
    /// The part of the frame that is not HTTP's.
    pub head: RequestHead,
    /// Method, target, version and fields as the HTTP client sent them, without the hop-by-hop fields.
    pub parts: request::Parts,
    /// The body, or its first bytes if [`RequestHead::end`] is false. A slice of the payload.
    pub body: Bytes,
    /// Trailer fields, only if [`RequestHead::end`] is true.
    pub trailers: Option<HeaderMap>,
}

/// The part of a REQUEST that is not HTTP's.
///
/// Start from [`RequestHead::new`] and assign fields.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestHead {
    /// Protocol version. Default [`super::VERSION`].
    pub version: u16,
    /// Feature bits. None is defined yet. Default 0.
    pub features: u64,
    /// The identity of the exchange, the same in every attempt.
    pub id: ExchangeId,
    /// The number of this attempt, from 0. Default 0.
    pub attempt: u8,
    /// The scheme that the HTTP client used. A decoded URI with an authority and a target has this scheme too. Default
    /// `http`.
    pub scheme: Scheme,
    /// The HTTP client's address. Default `None`.
    pub peer: Option<SocketAddr>,
    /// Time from receipt until the response's head; milliseconds on the wire, rounded up. Default `None`: unlimited.
    pub head_timeout: Option<Duration>,
    /// Time from receipt until the end of the exchange; milliseconds on the wire, rounded up. Default `None`: unlimited.
    pub total_timeout: Option<Duration>,
    /// Offset up to which the response's body may be sent, in bytes. Default 0.
    pub credit: u64,
    /// Largest payload that the gateway's NATS server takes, in bytes. Default 0: unknown.
    pub max_payload: u64,
    /// Whether the whole body is in this frame or in an object. Default true; false on the wire.
    pub end: bool,
    /// The object that holds the body. The frame must have no body and `end` must be true then. Durable requests only.
    /// Default `None`.
    pub object: Option<Box<ObjectRef>>,
    /// The place where the outcome is stored. Durable requests only. Default `None`.
    pub outcome: Option<Box<OutcomeRef>>,
}

impl RequestHead {
    /// Creates the head of a first attempt, without time limits and credit, whose body is inline.
    pub fn new(id: ExchangeId) -> Self {
        Self {
            version: VERSION,
            features: 0,
            id,
            attempt: 0,
            scheme: Scheme::HTTP,
            peer: None,
            head_timeout: None,
            total_timeout: None,
            credit: 0,
            max_payload: 0,
            end: true,
            object: None,
            outcome: None,
        }
    }

    /// Encodes a REQUEST from the parts of an HTTP request. Hop-by-hop fields are left out, and trailers if `end` is
    /// false.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] if the request is over `limits`. [`Limits::frame`] is not checked.
    pub fn encode(
        &self,
        parts: &request::Parts,
        edit: Edit<'_>,
        body: impl Buf,
        trailers: Option<&HeaderMap>,
        limits: &Limits,
    ) -> Result<Bytes, EncodeError> {
        let writer = self.write(parts, edit, body.remaining(), trailers, limits)?;
        Ok(writer.finish_with(body))
    }

    /// Writes everything but the body, which has the length `body`.
    fn write(
        &self,
        parts: &request::Parts,
        edit: Edit<'_>,
        body: usize,
        trailers: Option<&HeaderMap>,
        limits: &Limits,
    ) -> Result<Writer, EncodeError> {
        let target = target::of(&parts.uri);
        let authority = parts.uri.authority().map_or("", |authority| authority.as_str());
        if target.len().max(authority.len()) > limits.target {
            return Err(EncodeError::TargetTooLong { limit: limits.target });
        }
        let trailers = trailers.filter(|_| self.end);
        let strings = [parts.method.as_str(), &target, authority, self.scheme.as_str()];
        let capacity = FRAMING
            + NUMBERS
            + strings.iter().map(|string| string.len() + STRING).sum::<usize>()
            + fields::encoded_len(&parts.headers, &edit)
            + fields::trailers_len(trailers)
            + self.object.as_ref().map_or(0, |object| object.len())
            + self.outcome.as_ref().map_or(0, |outcome| outcome.len())
            + body;
        let mut writer = Writer::new(Kind::Request, capacity);
        writer.uint_unless(VERSION.into(), key::VERSION, self.version.into());
        writer.uint(key::request::ATTEMPT, self.attempt.into());
        writer.uint_unless(0, key::FEATURES, self.features);
        fields::write(&mut writer, &parts.headers, &edit, limits)?;
        writer.bool_unless(false, key::END, self.end);
        fields::check_count(fields::write_trailers(&mut writer, trailers), limits)?;
        writer.uint_unless(0, key::CREDIT, self.credit);
        writer.uint_unless(0, key::MAX_PAYLOAD, self.max_payload);
        writer.bytes(key::request::ID, self.id.as_bytes());
        writer.text(key::request::METHOD, parts.method.as_str());
        if !target.is_empty() {
            writer.text(key::request::TARGET, &target);
        }
        if !authority.is_empty() {
            writer.text(key::request::AUTHORITY, authority);
        }
        if self.scheme != Scheme::HTTP {
            writer.text(key::request::SCHEME, self.scheme.as_str());
        }
        writer.uint_unless(11, key::request::HTTP_VERSION, target::version_number(parts.version));
        if let Some(peer) = self.peer {
            peer::write(&mut writer, peer);
        }
        writer.uint_if(key::request::HEAD_MS, self.head_timeout.map(millis));
        writer.uint_if(key::request::TOTAL_MS, self.total_timeout.map(millis));
        if let Some(object) = &self.object {
            object.write(&mut writer);
        }
        if let Some(outcome) = &self.outcome {
            outcome.write(&mut writer);
        }
        if writer.len() > limits.head {
            return Err(EncodeError::FieldsTooLarge { limit: limits.head });
        }
        Ok(writer)
    }

    /// Copies an encoded REQUEST with the number of another attempt.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if [`RequestHead::encode`] did not make `frame`.
    pub fn with_attempt(frame: &Bytes, attempt: u8) -> Result<Bytes, DecodeError> {
        let (kind, mut reader) = Reader::open(frame, &Limits::default())?;
        if kind != Kind::Request as u64 {
            return Err(DecodeError::Kind(kind));
        }
        let number = reader.first_of(key::VERSION, key::request::ATTEMPT)?;
        let mut again = Vec::with_capacity(frame.len() + 1);
        again.extend_from_slice(&frame.slice(..number.start));
        let mut again = append_uint(again, attempt);
        again.extend_from_slice(&frame.slice(number.end..));
        Ok(again.into())
    }
}

impl RequestFrame {
    /// Decodes a REQUEST.
    ///
    /// # Errors
    ///
    /// As [`super::Frame::decode`], and [`DecodeError::Kind`] if the payload is another frame.
    pub fn decode(payload: &Bytes, limits: &Limits) -> Result<Self, DecodeError> {
        match Reader::open(payload, limits)? {
            (kind, reader) if kind == Kind::Request as u64 => Self::read(reader, limits),
            (kind, _) => Err(DecodeError::Kind(kind)),
        }
    }

    pub(super) fn read(mut reader: Reader<'_>, limits: &Limits) -> Result<Self, DecodeError> {
        let mut head = RequestHead { end: false, ..RequestHead::new(ExchangeId::from_bytes([0; 16])) };
        let (mut parts, ()) = Request::new(()).into_parts();
        let (mut id, mut method, mut trailers) = (None, None, None);
        let mut target = Target::default();
        reader.head(|reader, key| {
            match key {
                key::VERSION => head.version = reader.version()?,
                key::FEATURES => head.features = reader.uint()?,
                key::FIELDS => parts.headers = fields::read(reader, limits)?,
                key::END => head.end = reader.bool()?,
                key::TRAILERS => trailers = fields::read_trailers(reader, limits)?,
                key::CREDIT => head.credit = reader.uint()?,
                key::MAX_PAYLOAD => head.max_payload = reader.uint()?,
                key::request::ID => id = Some(read_id(reader)?),
                key::request::ATTEMPT => head.attempt = read_attempt(reader)?,
                key::request::METHOD => method = Some(read_method(reader)?),
                key::request::TARGET => target.read_path(reader, limits)?,
                key::request::AUTHORITY => target.read_authority(reader, limits)?,
                key::request::SCHEME => head.scheme = target::read_scheme(reader)?,
                key::request::HTTP_VERSION => parts.version = target::read_version(reader)?,
                key::request::PEER => head.peer = Some(peer::read(reader)?),
                key::request::HEAD_MS => head.head_timeout = Some(Duration::from_millis(reader.uint()?)),
                key::request::TOTAL_MS => head.total_timeout = Some(Duration::from_millis(reader.uint()?)),
                key::request::OBJECT => head.object = Some(Box::new(ObjectRef::read(reader)?)),
                key::request::OUTCOME => head.outcome = Some(Box::new(OutcomeRef::read(reader)?)),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        head.id = id.ok_or(DecodeError::Malformed("a request without an id"))?;
        parts.method = method.ok_or(DecodeError::Malformed("a request without a method"))?;
        parts.uri = target.into_uri(&head.scheme)?;
        fields::check_trailers(trailers.as_ref(), head.end)?;
        let body = reader.body()?;
        if head.object.is_some() && !(head.end && body.is_empty()) {
            return Err(DecodeError::Malformed("a request with a body and an object"));
        }
        Ok(Self { head, parts, body, trailers })
    }
}

fn read_id(reader: &mut Reader<'_>) -> Result<ExchangeId, DecodeError> {
    let id = reader.bytes()?.try_into().map_err(|_| DecodeError::Malformed("an id is 16 bytes"))?;
    Ok(ExchangeId::from_bytes(id))
}

fn read_attempt(reader: &mut Reader<'_>) -> Result<u8, DecodeError> {
    u8::try_from(reader.uint()?).map_err(|_| DecodeError::Malformed("an attempt is at most 255"))
}

fn read_method(reader: &mut Reader<'_>) -> Result<Method, DecodeError> {
    Method::from_bytes(reader.token()?).map_err(|_| DecodeError::Http("method"))
}
