//! Stream configuration and state.

use async_nats::jetstream::stream::{Config, DiscardPolicy, Info, State, StorageType};
use tonic::Status;

use super::{date, duration, filter_subject, saturating};
use crate::pb;
use crate::tenant::Tenant;

/// JetStream's value for no limit.
const UNLIMITED: i64 = -1;

/// The configuration of a new stream with this NATS name. Its subject is its own name by default.
pub(crate) fn to_stream(tenant: &Tenant, name: String, config: &pb::StreamConfig) -> Result<Config, Status> {
    let mut stream = Config {
        name,
        max_messages: UNLIMITED,
        max_bytes: UNLIMITED,
        max_messages_per_subject: UNLIMITED,
        max_message_size: -1,
        num_replicas: 1,
        ..Default::default()
    };
    if config.subjects.is_empty() {
        stream.subjects = vec![filter_subject(tenant, &config.name)?];
    }
    change_stream(tenant, &mut stream, config)?;
    Ok(stream)
}

/// Applies the fields that are set. Zero means unset.
pub(crate) fn change_stream(
    tenant: &Tenant,
    stream: &mut Config,
    config: &pb::StreamConfig,
) -> Result<(), Status> {
    if !config.subjects.is_empty() {
        let subjects = config.subjects.iter().map(|subject| filter_subject(tenant, subject));
        stream.subjects = subjects.collect::<Result<_, _>>()?;
    }
    match pb::StorageType::try_from(config.storage) {
        Ok(pb::StorageType::StorageFile) => {}
        Ok(pb::StorageType::StorageMemory) => stream.storage = StorageType::Memory,
        Err(_) => return Err(Status::invalid_argument("storage has an invalid value")),
    }
    set(&mut stream.max_messages, config.max_msgs.into());
    set(&mut stream.max_bytes, config.max_bytes);
    set(&mut stream.max_messages_per_subject, config.max_msgs_per_subject);
    if config.max_msg_size != 0 {
        stream.max_message_size = config.max_msg_size.max(-1);
    }
    if let Some(max_age) = duration("max_age", config.max_age.as_ref())? {
        stream.max_age = max_age;
    }
    if config.replicas != 0 {
        let replicas = usize::try_from(config.replicas).ok().filter(|replicas| *replicas <= 5);
        stream.num_replicas = replicas.ok_or_else(|| Status::invalid_argument("replicas must be 1 to 5"))?;
    }
    if config.discard_new_per_subject {
        if stream.max_messages_per_subject <= 0 {
            return Err(Status::invalid_argument("discard_new_per_subject needs max_msgs_per_subject"));
        }
        stream.discard = DiscardPolicy::New;
        stream.discard_new_per_subject = true;
    }
    Ok(())
}

fn set(limit: &mut i64, value: i64) {
    if value != 0 {
        *limit = value.max(UNLIMITED);
    }
}

/// The description of a stream, in the tenant's names.
pub(crate) fn from_stream(tenant: &Tenant, info: &Info) -> pb::StreamInfo {
    let name = tenant.own_stream(&info.config.name).unwrap_or_default().to_owned();
    pb::StreamInfo {
        config: Some(from_config(tenant, &info.config, name.clone())),
        name,
        state: Some(from_state(&info.state)),
        created: date(info.created),
    }
}

fn from_config(tenant: &Tenant, config: &Config, name: String) -> pb::StreamConfig {
    let subjects = config.subjects.iter().filter_map(|subject| tenant.own_subject(subject));
    pb::StreamConfig {
        name,
        subjects: subjects.map(str::to_owned).collect(),
        storage: match config.storage {
            StorageType::File => pb::StorageType::StorageFile,
            StorageType::Memory => pb::StorageType::StorageMemory,
        }
        .into(),
        max_msgs: saturating(config.max_messages),
        max_bytes: config.max_bytes,
        // Zero means no limit.
        max_age: prost_types::Duration::try_from(config.max_age).ok().filter(|_| !config.max_age.is_zero()),
        max_msg_size: config.max_message_size,
        replicas: saturating(config.num_replicas),
        discard_new_per_subject: config.discard_new_per_subject,
        max_msgs_per_subject: config.max_messages_per_subject,
    }
}

fn from_state(state: &State) -> pb::StreamState {
    pb::StreamState {
        messages: saturating(state.messages),
        bytes: saturating(state.bytes),
        first_seq: saturating(state.first_sequence),
        last_seq: saturating(state.last_sequence),
        first_ts: date(state.first_timestamp),
        last_ts: date(state.last_timestamp),
        num_subjects: saturating(state.subjects_count),
        consumer_count: saturating(state.consumer_count),
    }
}
