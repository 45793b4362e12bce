//! Limits on the repeated fields of a request.
//!
//! Two bytes of a request can become a message of more than a hundred bytes in memory, and its first header takes five
//! hundred more. So repeated fields are counted on the wire, before decoding. A decoded request takes at most its own size
//! and 64 MiB.

use std::any::TypeId;

use prost::encoding::{WireType, decode_key, decode_varint};
use tonic::Status;

use crate::pb;

/// The most messages of a batch, and subjects of a stream.
const MOST: usize = 65_536;

/// The most headers of a message, and entries of an object's metadata: far more than JetStream accepts.
const MOST_ENTRIES: usize = 4096;

/// The most of all kinds together.
const MOST_IN_ALL: usize = 3 * MOST;

/// A repeated field, or one with repeated fields in it.
struct Field {
    number: u32,
    /// Owner, maximum and unit, for the error. `None` if only its own fields are counted.
    most: Option<(&'static str, usize, &'static str)>,
    fields: &'static [Self],
}

const MESSAGES: Field = Field { number: 3, most: Some(("a batch", MOST, "messages")), fields: &[headers(3)] };

const CONFIG: [Field; 1] = [Field { number: 2, most: Some(("a stream", MOST, "subjects")), fields: &[] }];

const fn headers(number: u32) -> Field {
    Field { number, most: Some(("a message", MOST_ENTRIES, "headers")), fields: &[] }
}

const fn metadata(number: u32) -> Field {
    Field { number, most: Some(("an object", MOST_ENTRIES, "entries of metadata")), fields: &[] }
}

const fn config(number: u32) -> Field {
    Field { number, most: None, fields: &CONFIG }
}

/// The counted fields of a request. Other requests have no repeated fields.
fn fields<T: 'static>() -> &'static [Field] {
    let known: [(_, &'static [Field]); 7] = [
        (TypeId::of::<pb::PublishRequest>(), const { &[headers(5)] }),
        (TypeId::of::<pb::PublishBatchRequest>(), const { &[MESSAGES] }),
        (TypeId::of::<pb::PublishToStreamRequest>(), const { &[headers(6)] }),
        (TypeId::of::<pb::CreateStreamRequest>(), const { &[config(3)] }),
        (TypeId::of::<pb::UpdateStreamRequest>(), const { &[config(4)] }),
        (TypeId::of::<pb::ObjectPutRequest>(), const { &[metadata(6)] }),
        (TypeId::of::<pb::ObjectChunk>(), const { &[metadata(6)] }),
    ];
    let found = known.into_iter().find(|(request, _)| *request == TypeId::of::<T>());
    found.map_or(&[], |(_, fields)| fields)
}

/// Checks an encoded request. INVALID_ARGUMENT if it is over a limit.
pub(super) fn check<T: 'static>(request: &[u8]) -> Result<(), Status> {
    count(request, fields::<T>(), &mut 0)
}

fn count(message: &[u8], fields: &[Field], in_all: &mut usize) -> Result<(), Status> {
    for field in fields {
        let mut number = 0;
        for content in
            Contents(message).filter_map(|(found, content)| (found == field.number).then_some(content))
        {
            if let Some((of, most, what)) = field.most {
                number += 1;
                *in_all += 1;
                if number > most {
                    return Err(Status::invalid_argument(format!("{of} has at most {most} {what}")));
                }
                if *in_all > MOST_IN_ALL {
                    let message = format!("a request has at most {MOST_IN_ALL} messages and headers in all");
                    return Err(Status::invalid_argument(message));
                }
            }
            count(content, field.fields, in_all)?;
        }
    }
    Ok(())
}

/// The length-delimited fields of a message, up to the first invalid byte, where decoding ends as well.
struct Contents<'a>(&'a [u8]);

impl<'a> Iterator for Contents<'a> {
    type Item = (u32, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        while !self.0.is_empty() {
            let (number, kind) = decode_key(&mut self.0).ok()?;
            let length = match kind {
                WireType::Varint => decode_varint(&mut self.0).map(|_| 0).ok()?,
                WireType::ThirtyTwoBit => 4,
                WireType::SixtyFourBit => 8,
                WireType::LengthDelimited => usize::try_from(decode_varint(&mut self.0).ok()?).ok()?,
                // Groups are unknown fields: skipped by the decoder.
                WireType::StartGroup | WireType::EndGroup => 0,
            };
            let (content, rest) = self.0.split_at_checked(length)?;
            self.0 = rest;
            if kind == WireType::LengthDelimited {
                return Some((number, content));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use prost::Message;
    use tonic::Code;

    use super::{Contents, MOST, MOST_ENTRIES, check};
    use crate::pb::{
        CreateStreamRequest, NatsMessage, PublishBatchRequest, PublishRequest, StreamConfig,
        UpdateStreamRequest,
    };

    fn headers(count: usize) -> std::collections::BTreeMap<String, String> {
        (0..count).map(|number| (number.to_string(), String::new())).collect()
    }

    fn refusal<T: Message + 'static>(request: &T) -> Option<String> {
        let status = check::<T>(&request.encode_to_vec()).err()?;
        assert_eq!(status.code(), Code::InvalidArgument);
        Some(status.message().to_owned())
    }

    fn batch(messages: usize, headers_each: usize) -> PublishBatchRequest {
        let message = NatsMessage {
            subject: "a".into(),
            data: Bytes::from_static(b"\x1a\0\x1a\0"),
            headers: headers(headers_each),
            ..Default::default()
        };
        PublishBatchRequest { messages: vec![message; messages], ..Default::default() }
    }

    #[test]
    fn a_request_at_a_limit_passes_and_one_over_it_fails() {
        assert_eq!(refusal(&batch(MOST, 2)), None);
        assert_eq!(refusal(&batch(MOST + 1, 0)).unwrap(), "a batch has at most 65536 messages");
        assert_eq!(refusal(&batch(48, MOST_ENTRIES - 1)), None);
        assert_eq!(
            refusal(&batch(49, MOST_ENTRIES - 1)).unwrap(),
            "a request has at most 196608 messages and headers in all"
        );
        let publish = |count| PublishRequest { headers: headers(count), ..Default::default() };
        assert_eq!(refusal(&publish(MOST_ENTRIES)), None);
        assert_eq!(refusal(&publish(MOST_ENTRIES + 1)).unwrap(), "a message has at most 4096 headers");
        let config = |count| StreamConfig { subjects: vec![String::new(); count], ..Default::default() };
        let create = |count| CreateStreamRequest { config: Some(config(count)), ..Default::default() };
        assert_eq!(refusal(&create(MOST)), None);
        assert_eq!(refusal(&create(MOST + 1)).unwrap(), "a stream has at most 65536 subjects");
        let update = UpdateStreamRequest { config: Some(config(MOST + 1)), ..Default::default() };
        assert!(refusal(&update).is_some());
    }

    #[test]
    fn a_group_does_not_hide_the_fields_after_it() {
        // An unknown group, with a number in it and another group.
        let mut request = b"\x7b\x08\x01\x83\x01\x84\x01\x7c".to_vec();
        request.extend(batch(MOST + 1, 0).encode_to_vec());
        assert!(check::<PublishBatchRequest>(&request).is_err());
    }

    proptest! {
        #[test]
        fn every_decoded_message_was_counted(
            request in prop::collection::vec(prop_oneof![
                any::<u8>().prop_map(|byte| vec![byte]),
                Just(b"\x1a\x02\x0a\0".to_vec()),
                Just(b"\x7b\x08\x01\x7c".to_vec()),
                Just(b"\x0a\x01a".to_vec()),
            ], 0..20)
        ) {
            let request = request.concat();
            let counted = Contents(&request).filter(|(number, _)| *number == 3).count();
            check::<PublishBatchRequest>(&request).unwrap();
            if let Ok(decoded) = PublishBatchRequest::decode(&*request) {
                prop_assert!(decoded.messages.len() <= counted, "{decoded:?}");
            }
        }
    }
}
