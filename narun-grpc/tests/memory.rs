//! The memory that a request takes in the service: at most twice its size, and a constant.
//!
//! Only allocations of the test's thread are counted. The whole service runs on it, with its NATS client.

use std::collections::HashMap;

use allocation_counter::measure;
use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use narun_grpc::auth::TrustRequest;
use narun_grpc::{FILE_DESCRIPTOR_SET, NatsService, SERVICE};
use narun_support::Server;
use narun_support::testing::soon;
use prost::Message;
use prost::encoding::encode_varint;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};
use tonic::Status;
use tonic::codegen::Service;

const MIB: u64 = 1 << 20;

/// The approximate size of a request with many entries, in bytes.
const ROOM: usize = 4 << 20;

/// The memory that a request of this size may take: encoded, decoded, and a constant for the parts.
const fn allowed(size: usize) -> u64 {
    2 * size as u64 + 64 * MIB
}

/// The types of messages by their names.
type Types = HashMap<String, DescriptorProto>;

/// Numbers of entries, and of entries within each: as many as the limits allow, and as many as fit the size.
const COUNTS: [(usize, usize); 7] =
    [(65_536, 1), (65_536, 2), (48, 4095), (1, 4096), (1, 65_536), (usize::MAX, 1), (1, usize::MAX)];

/// Makes requests with many entries in a repeated field.
struct Many<'a> {
    types: &'a Types,
    count: usize,
    each: usize,
}

#[test]
fn a_request_takes_a_small_multiple_of_its_size() {
    let server = Server::builder().jetstream(true).start().expect("a nats-server");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let service = runtime.block_on(async {
        let nats = async_nats::connect(server.url()).await.expect("a connection");
        NatsService::builder(nats).authenticator(TrustRequest::new()).build()
    });
    let files = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).expect("descriptors").file;
    let types = types(&files);
    let (mut tried, mut over) = (Vec::new(), Vec::new());
    for method in files.iter().flat_map(|file| &file.service).flat_map(|service| &service.method) {
        let descriptor = &types[method.input_type()];
        for path in lists(&types, descriptor) {
            for (count, each) in COUNTS {
                let many = Many { types: &types, count, each };
                let request = Bytes::from(many.request(descriptor, &path));
                let call = call(&service, method.name(), request.clone());
                let mut refused = false;
                let info = measure(|| refused = runtime.block_on(soon(method.name(), call)));
                let (held, allowed) = (info.bytes_max, allowed(request.len()));
                let shown = format!("{} {path:?} {count} {each}: {} bytes", method.name(), request.len());
                // As many as fit is more than any limit.
                if held > allowed || (each == usize::MAX && !refused) {
                    over.push(format!("{shown}, {held} held, {allowed} allowed"));
                }
                tried.push(shown);
            }
        }
    }
    assert!(over.is_empty(), "{over:#?}");
    assert!(tried.len() >= 48, "{tried:?}");
}

/// Calls a method in this thread, with the request in pieces as from a network. Returns whether it is refused for too many
/// entries.
async fn call(service: &NatsService, method: &str, request: Bytes) -> bool {
    let mut head =
        Bytes::from_owner([&[0], &u32::try_from(request.len()).expect("a size").to_be_bytes()[..]].concat());
    let mut request = request;
    let pieces = std::iter::from_fn(move || {
        if !head.is_empty() {
            return Some(std::mem::take(&mut head));
        }
        let piece = request.split_to(request.len().min(16 << 10));
        (!piece.is_empty()).then_some(piece)
    });
    let frames = pieces.map(|piece| Ok::<_, Status>(Frame::data(piece)));
    let body = StreamBody::new(futures::stream::iter(frames));
    let uri: Uri = format!("/{SERVICE}/{method}").parse().expect("a path");
    let request = Request::post(uri).header("content-type", "application/grpc").header("grpc-timeout", "1S");
    let response = service.clone().into_server().call(request.body(body).expect("a request")).await;
    let (head, mut body) = response.expect("a response").into_parts();
    while let Some(Ok(_)) = body.frame().await {}
    let header = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
    header("grpc-status") == Some("3")
        && header("grpc-message").is_some_and(|text| text.contains("at%20most"))
}

fn types(files: &[prost_types::FileDescriptorProto]) -> Types {
    let mut types = Types::new();
    for file in files {
        for message in &file.message_type {
            let name = format!(".{}.{}", file.package(), message.name());
            for nested in &message.nested_type {
                types.insert(format!("{name}.{}", nested.name()), nested.clone());
            }
            types.insert(name, message.clone());
        }
    }
    types
}

/// The paths to the repeated fields of a message and of the messages in it.
fn lists(types: &Types, message: &DescriptorProto) -> Vec<Vec<i32>> {
    let mut paths = Vec::new();
    for field in &message.field {
        if field.label() == Label::Repeated {
            paths.push(vec![field.number()]);
        }
        if let Some(inner) = inner(types, field) {
            let below = lists(types, inner).into_iter();
            paths.extend(below.map(|below| [vec![field.number()], below].concat()));
        }
    }
    paths
}

/// The message type of a field. Returns `None` for other types and map entries.
fn inner<'a>(types: &'a Types, field: &FieldDescriptorProto) -> Option<&'a DescriptorProto> {
    let inner = (field.r#type() == Type::Message).then(|| &types[field.type_name()])?;
    (!is_entry(inner)).then_some(inner)
}

fn is_entry(message: &DescriptorProto) -> bool {
    message.options.as_ref().is_some_and(|options| options.map_entry())
}

impl Many<'_> {
    /// A request with many entries in the last field of the path.
    fn request(&self, message: &DescriptorProto, path: &[i32]) -> Vec<u8> {
        let (number, below) = path.split_first().expect("a field");
        let field = message.field.iter().find(|field| field.number() == *number).expect("a field");
        let repeated = field.label() == Label::Repeated;
        let most = match (repeated, below) {
            (false, _) => 1,
            (true, []) => self.each,
            (true, _) => self.count,
        };
        let mut request = usual(message);
        let element = match inner(self.types, field) {
            Some(inner) if !below.is_empty() => self.request(inner, below),
            _ => Vec::new(),
        };
        let is_map = field.r#type() == Type::Message && inner(self.types, field).is_none();
        for number in 0..most {
            if request.len() >= ROOM {
                break;
            }
            match is_map {
                true => delimited(field, &[&b"\x0a\x04"[..], &key(number)].concat(), &mut request),
                false => delimited(field, &element, &mut request),
            }
        }
        request
    }
}

/// A key of four bytes from a number.
fn key(number: usize) -> [u8; 4] {
    const DIGITS: [u8; 64] = *b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-+";
    [18, 12, 6, 0].map(|bits| DIGITS[number >> bits & 63])
}

/// The text fields of a message, set so that it is not refused for another reason.
fn usual(message: &DescriptorProto) -> Vec<u8> {
    let texts = message
        .field
        .iter()
        .filter(|field| field.r#type() == Type::String && field.label() != Label::Repeated);
    let mut message = Vec::new();
    for text in texts {
        delimited(text, b"s", &mut message);
    }
    message
}

fn delimited(field: &FieldDescriptorProto, content: &[u8], to: &mut Vec<u8>) {
    encode_varint(u64::from(field.number().cast_unsigned()) << 3 | 2, to);
    encode_varint(content.len() as u64, to);
    to.extend_from_slice(content);
}
