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

/// Bytes that a REQUEST's numbers, its id and the peer's address take at most, keys included.
const NUMBERS: usize = 100;

/// A request as it arrived: the HTTP head, the exchange's own head, and the inline body.
#[derive(Clone, Debug)]
pub struct RequestFrame {
    /// What the exchange needs to know.
    pub head: RequestHead,
    /// Method, target, version and fields as the HTTP client sent them, less the hop-by-hop fields.
    pub parts: request::Parts,
    /// The body, or its first bytes if [`RequestHead::end`] is false; a slice of the payload.
    pub body: Bytes,
    /// Trailer fields, only where [`RequestHead::end`] is true.
    pub trailers: Option<HeaderMap>,
}

/// The part of a REQUEST that is not HTTP's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// Protocol version. Default [`super::VERSION`].
    pub version: u16,
    /// Feature bits, none defined yet. Default 0.
    pub features: u64,
    /// The identity of the exchange, the same in every attempt.
    pub id: ExchangeId,
    /// The number of this attempt, from 0.
    pub attempt: u8,
    /// Scheme of the HTTP request as the client used it, which is the scheme of the URI too where that has an
    /// authority. Default `http`.
    pub scheme: Scheme,
    /// The HTTP client's address.
    pub peer: Option<SocketAddr>,
    /// Until the response head must be there, counted from receipt; milliseconds on the wire. Default none.
    pub head_timeout: Option<Duration>,
    /// Until everything must be over, counted from receipt; milliseconds on the wire. Default none.
    pub total_timeout: Option<Duration>,
    /// Offset up to which the response's body may be sent. Default 0.
    pub credit: u64,
    /// The largest payload that the gateway's server takes. Default 0: not known.
    pub max_payload: u64,
    /// Whether the whole body is in this frame, or in an object. Default false.
    pub end: bool,
    /// The object that holds the body, of which nothing is in the frame then; `end` is true. Durable requests only.
    /// Default none.
    pub object: Option<Box<ObjectRef>>,
    /// Where the outcome is to be kept. Durable requests only. Default none.
    pub outcome: Option<Box<OutcomeRef>>,
}

impl RequestHead {
    /// The head of a first attempt with nothing but its id: no time limits, no credit, and an inline body.
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

    /// Encodes a REQUEST straight from the parts of an HTTP request; hop-by-hop fields are left out.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] if the request is over `limits` (all but [`Limits::frame`], which is the caller's to weigh).
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

    /// Writes all but the body, of which only the length is needed here.
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

    /// The same REQUEST as another attempt.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if `frame` is no REQUEST that [`RequestHead::encode`] made.
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
    /// As [`super::Frame::decode`], and if it is another frame.
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
            return Err(DecodeError::Malformed("a body besides the object that holds it"));
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
