//! Uploads and downloads of a large object.

use std::time::{Duration, Instant};

use async_nats::jetstream::object_store::{self, ObjectStore};
use bytes::Bytes;
use narun_grpc::pb;
use narun_grpc::pb::nats_service_client::NatsServiceClient;
use tokio::io::{AsyncReadExt, sink};
use tonic::transport::Channel;

use super::options::GrpcOptions;
use super::programs::{nats, service};
use super::report::GrpcReport;
use crate::figures::median;
use crate::goal::Goal;
use crate::role::channel;
use crate::{Error, usage};

/// Bytes in a chunk of an upload.
const CHUNK: usize = 256 << 10;

/// How long the service is idle before its memory is measured.
const QUIET: Duration = Duration::from_secs(1);

const BUCKET: &str = "large";
const OBJECT: &str = "object";

/// Both ways, to the same server.
struct Ways {
    grpc: NatsServiceClient<Channel>,
    direct: ObjectStore,
    size: u64,
}

/// How the object is transferred.
#[derive(Clone, Copy, Debug)]
enum Way {
    Put,
    Upload,
    Get,
    Download,
}

pub(super) async fn run(options: &GrpcOptions, report: &mut GrpcReport) -> Result<(), Error> {
    let nats = nats()?;
    let service = service(options, &nats)?;
    let jetstream = async_nats::jetstream::new(async_nats::connect(nats.url()).await?);
    let config = object_store::Config { bucket: BUCKET.to_owned(), ..Default::default() };
    let ways = Ways {
        grpc: NatsServiceClient::new(channel(service.address().parse()?).await?),
        direct: jetstream.create_object_store(config).await?,
        size: options.object_mib << 20,
    };
    // The first transfers allocate buffers that are kept.
    let small = Ways { size: 1 << 20, grpc: ways.grpc.clone(), direct: ways.direct.clone() };
    for way in [Way::Upload, Way::Download] {
        small.go(way).await?;
    }
    tokio::time::sleep(QUIET).await;
    let idle = usage::rss_mib(service.id());

    let all = [Way::Put, Way::Upload, Way::Get, Way::Download];
    let (mut rates, mut peaks) = ([const { Vec::new() }; 4], [None; 4]);
    for _ in 0..options.object_rounds {
        for (index, way) in all.into_iter().enumerate() {
            usage::reset_peak(service.id());
            let began = Instant::now();
            ways.go(way).await?;
            rates[index].push(options.object_mib as f64 / began.elapsed().as_secs_f64());
            let peak = usage::peak_rss_mib(service.id()).zip(idle).map(|(peak, idle)| peak - idle);
            peaks[index] = peaks[index].max_by_value(peak);
        }
    }
    let [put, upload, get, download] = rates.map(median);
    report.note(&format!(
        "\nobject of {} MiB, MiB/s: put {put:.0}, upload {upload:.0}; get {get:.0}, download {download:.0}",
        options.object_mib
    ));
    report.check("object upload / put", Some(upload / put), Goal::AtLeast(0.7));
    report.check("object download / get", Some(download / get), Goal::AtLeast(0.7));
    report.check("object upload, MiB of memory above idle", peaks[1], Goal::AtMost(32.0));
    report.check("object download, MiB of memory above idle", peaks[3], Goal::AtMost(32.0));
    Ok(())
}

impl Ways {
    async fn go(&self, way: Way) -> Result<(), Error> {
        match way {
            Way::Put => self.put().await,
            Way::Upload => self.upload().await,
            Way::Get => self.get().await,
            Way::Download => self.download().await,
        }
    }

    async fn put(&self) -> Result<(), Error> {
        let mut data = tokio::io::repeat(b'x').take(self.size);
        let info = self.direct.put(OBJECT, &mut data).await?;
        whole(info.size as u64, self.size)
    }

    async fn get(&self) -> Result<(), Error> {
        let mut object = self.direct.get(OBJECT).await?;
        whole(
            tokio::io::copy_buf(&mut tokio::io::BufReader::with_capacity(CHUNK, &mut object), &mut sink())
                .await?,
            self.size,
        )
    }

    async fn upload(&self) -> Result<(), Error> {
        let first = pb::ObjectChunk {
            user_id: "bench".to_owned(),
            bucket: BUCKET.to_owned(),
            object_name: OBJECT.to_owned(),
            ..Default::default()
        };
        let data = Bytes::from(vec![b'x'; CHUNK]);
        let rest = (0..self.size / CHUNK as u64)
            .map(move |_| pb::ObjectChunk { data: data.clone(), ..Default::default() });
        let chunks = futures::stream::iter(std::iter::once(first).chain(rest));
        let response = self.grpc.clone().object_upload(chunks).await?.into_inner();
        if response.success { Ok(()) } else { Err("not uploaded".into()) }
    }

    async fn download(&self) -> Result<(), Error> {
        let request = pb::ObjectGetRequest {
            user_id: "bench".to_owned(),
            bucket: BUCKET.to_owned(),
            object_name: OBJECT.to_owned(),
            ..Default::default()
        };
        let mut chunks = self.grpc.clone().object_download(request).await?.into_inner();
        let mut read = 0;
        while let Some(chunk) = chunks.message().await? {
            read += chunk.data.len() as u64;
        }
        whole(read, self.size)
    }
}

fn whole(found: u64, wanted: u64) -> Result<(), Error> {
    if found == wanted { Ok(()) } else { Err(format!("{found} of {wanted} bytes").into()) }
}

/// The larger value of two that may be missing.
trait MaxByValue {
    fn max_by_value(self, other: Self) -> Self;
}

impl MaxByValue for Option<f64> {
    fn max_by_value(self, other: Self) -> Self {
        other.map(|other| self.map_or(other, |one| one.max(other))).or(self)
    }
}
