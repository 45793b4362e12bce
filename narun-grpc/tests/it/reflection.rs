//! Reflection, as tools without the contract use it.

use std::collections::BTreeSet;

use narun_grpc::{FILE_DESCRIPTOR_SET, Method, SERVICE};
use prost::Message;
use prost_types::FileDescriptorProto;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic_reflection::pb::{v1, v1alpha};
use tonic_reflection::server::Builder;

use crate::harness::{Service, channel};

macro_rules! asked {
    ($version:ident, $channel:expr) => {{
        use $version::server_reflection_client::ServerReflectionClient;
        use $version::server_reflection_request::MessageRequest::{FileContainingSymbol, ListServices};
        use $version::server_reflection_response::MessageResponse::{
            FileDescriptorResponse, ListServicesResponse,
        };
        let questions = [ListServices(String::new()), FileContainingSymbol(SERVICE.to_owned())];
        let questions = questions.map(|question| $version::ServerReflectionRequest {
            host: String::new(),
            message_request: Some(question),
        });
        let mut client = ServerReflectionClient::new($channel);
        let mut responses =
            client.server_reflection_info(tokio_stream::iter(questions)).await.unwrap().into_inner();
        let mut next = async || responses.message().await.unwrap().unwrap().message_response;
        let Some(ListServicesResponse(services)) = next().await else { panic!("no list") };
        assert!(services.service.iter().any(|service| service.name == SERVICE));
        let Some(FileDescriptorResponse(files)) = next().await else { panic!("no file") };
        files.file_descriptor_proto
    }};
}

#[tokio::test]
async fn tools_find_every_method() {
    let service = Service::start().await;
    let builder = || Builder::configure().register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = tonic::transport::Server::builder()
        .add_service(builder().build_v1().expect("sound descriptors"))
        .add_service(builder().build_v1alpha().expect("sound descriptors"))
        .add_service(service.service.clone().into_server());
    let serving = tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
    let channel = channel(&url).await;
    for files in [asked!(v1, channel.clone()), asked!(v1alpha, channel.clone())] {
        let files: Vec<_> =
            files.iter().map(|file| FileDescriptorProto::decode(&file[..]).unwrap()).collect();
        let services = files.iter().flat_map(|file| &file.service);
        let methods: BTreeSet<_> =
            services.flat_map(|service| &service.method).map(|method| method.name()).collect();
        assert_eq!(methods, Method::ALL.iter().map(|method| method.name()).collect());
    }
    serving.abort();
}
