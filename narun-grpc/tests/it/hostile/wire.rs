//! Random requests made from descriptors: valid protobuf with any content.

use std::collections::HashMap;

use bytes::{Buf, BufMut, Bytes};
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorProto};
use rand::RngExt;
use rand::rngs::StdRng;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

/// Texts that are special to NATS, gRPC, JSON or the service, and existing names.
const TEXTS: [&str; 38] = [
    "",
    "s",
    "c",
    "b",
    "o",
    "k",
    "a",
    "s.a",
    "s.>",
    ">",
    "*",
    "a.*",
    ".",
    "..",
    "a..b",
    ".a",
    "a.",
    " ",
    "a b",
    "\0",
    "\r\n",
    "a\r\nPUB x 0\r\n\r\n",
    "$JS.API.STREAM.LIST",
    "$SYS.>",
    "_INBOX.>",
    "user.x.>",
    "_",
    "_2e",
    "-",
    "/",
    "\\",
    "ä",
    "日本",
    "\u{202e}",
    "\u{fffd}",
    "Nats-Rollup",
    "KV-Operation",
    "%s%n",
];

const NUMBERS: [i64; 12] = [
    0,
    1,
    2,
    5,
    -1,
    i32::MAX as i64,
    i32::MIN as i64,
    1 << 31,
    i64::MAX,
    i64::MIN,
    i64::MAX / 1_000_000_000 + 1,
    1_700_000_000,
];

pub(super) struct Random<'a> {
    rng: StdRng,
    messages: HashMap<String, &'a DescriptorProto>,
    user: &'a str,
}

impl<'a> Random<'a> {
    pub(super) fn new(rng: StdRng, files: &'a [FileDescriptorProto], user: &'a str) -> Self {
        let mut messages = HashMap::new();
        for file in files {
            for message in &file.message_type {
                let name = format!(".{}.{}", file.package(), message.name());
                for nested in &message.nested_type {
                    messages.insert(format!("{name}.{}", nested.name()), nested);
                }
                messages.insert(name, message);
            }
        }
        Self { rng, messages, user }
    }

    /// A message of this type, with some fields set.
    pub(super) fn message(&mut self, name: &str) -> Bytes {
        let mut message = Vec::new();
        let descriptor = self.messages[name];
        for field in &descriptor.field {
            let times = match field.label() {
                Label::Repeated => self.rng.random_range(0..3),
                _ => usize::from(self.rng.random_bool(0.8)),
            };
            for _ in 0..times {
                self.field(&mut message, field);
            }
        }
        message.into()
    }

    fn field(&mut self, message: &mut Vec<u8>, field: &FieldDescriptorProto) {
        let number = u64::try_from(field.number()).expect("a number");
        match field.r#type() {
            Type::String => {
                let text = self.text(field.name());
                length_delimited(message, number, text.as_bytes());
            }
            Type::Bytes => {
                let length = match self.rng.random_range(0..40) {
                    0 => 1_048_577,
                    length => length,
                };
                length_delimited(message, number, &vec![7; length]);
            }
            Type::Message => {
                let inner = self.message(field.type_name());
                length_delimited(message, number, &inner);
            }
            Type::Int32 | Type::Int64 | Type::Enum | Type::Bool => {
                let value = NUMBERS[self.rng.random_range(0..NUMBERS.len())];
                varint(message, number << 3);
                varint(message, value.cast_unsigned());
            }
            other => panic!("a request with a field of {other:?}"),
        }
    }

    fn text(&mut self, field: &str) -> String {
        // Most requests are for the user with existing names.
        if field == "user_id" && self.rng.random_bool(0.9) {
            return self.user.to_owned();
        }
        let usual = match field {
            "stream_name" => "s",
            "consumer_name" => "c",
            "bucket" => "b",
            "object_name" => "o",
            "subject" => "s.a",
            _ => "",
        };
        match self.rng.random_range(0..20) {
            0..10 if !usual.is_empty() => usual.to_owned(),
            0 => TEXTS[self.rng.random_range(0..TEXTS.len())].repeat(self.rng.random_range(0..5000)),
            _ => TEXTS[self.rng.random_range(0..TEXTS.len())].to_owned(),
        }
    }
}

fn length_delimited(message: &mut Vec<u8>, number: u64, content: &[u8]) {
    varint(message, number << 3 | 2);
    varint(message, content.len() as u64);
    message.extend_from_slice(content);
}

fn varint(message: &mut Vec<u8>, value: u64) {
    prost::encoding::encode_varint(value, message);
}

/// A codec for encoded messages.
#[derive(Clone, Copy)]
pub(crate) struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
