//! Consumer configuration and state.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, Config, DeliverPolicy, Info, ReplayPolicy};
use tonic::Status;

use super::{date, duration, filter_subject, read_time, saturating};
use crate::pb;
use crate::tenant::Tenant;

/// The configuration of a new consumer.
pub(crate) fn to_consumer(
    tenant: &Tenant,
    name: &str,
    config: &pb::ConsumerConfig,
) -> Result<Config, Status> {
    let bad = |field: &str| Status::invalid_argument(format!("{field} has an invalid value"));
    let filter_subject = match config.filter_subject.as_str() {
        "" => String::new(),
        subject => filter_subject(tenant, subject)?,
    };
    Ok(Config {
        name: Some(name.to_owned()),
        durable_name: Some(name.to_owned()),
        filter_subject,
        deliver_policy: deliver_policy(config)?,
        ack_policy: match pb::AckPolicy::try_from(config.ack_policy).map_err(|_| bad("ack_policy"))? {
            pb::AckPolicy::AckExplicit => AckPolicy::Explicit,
            pb::AckPolicy::AckAll => AckPolicy::All,
            pb::AckPolicy::AckNone => AckPolicy::None,
        },
        ack_wait: duration("ack_wait", config.ack_wait.as_ref())?.unwrap_or(Duration::ZERO),
        max_deliver: match config.max_deliver {
            ..=0 => -1,
            limit => limit.into(),
        },
        max_ack_pending: config.max_ack_pending.max(-1),
        replay_policy: match pb::ReplayPolicy::try_from(config.replay_policy)
            .map_err(|_| bad("replay_policy"))?
        {
            pb::ReplayPolicy::ReplayInstant => ReplayPolicy::Instant,
            pb::ReplayPolicy::ReplayOriginal => ReplayPolicy::Original,
        },
        ..Default::default()
    })
}

fn deliver_policy(config: &pb::ConsumerConfig) -> Result<DeliverPolicy, Status> {
    use pb::DeliveryPolicy::{
        DeliveryAll, DeliveryByStartSequence, DeliveryByStartTime, DeliveryLast, DeliveryLastPerSubject,
        DeliveryNew,
    };
    let policy = pb::DeliveryPolicy::try_from(config.delivery_policy)
        .map_err(|_| Status::invalid_argument("delivery_policy has an invalid value"))?;
    Ok(match policy {
        DeliveryAll => DeliverPolicy::All,
        DeliveryLast => DeliverPolicy::Last,
        DeliveryNew => DeliverPolicy::New,
        DeliveryLastPerSubject => DeliverPolicy::LastPerSubject,
        DeliveryByStartSequence => {
            let sequence = u64::try_from(config.opt_start_seq).ok().filter(|sequence| *sequence > 0);
            let missing = || Status::invalid_argument("opt_start_seq must be 1 or more");
            DeliverPolicy::ByStartSequence { start_sequence: sequence.ok_or_else(missing)? }
        }
        DeliveryByStartTime => {
            let time = config.opt_start_time.as_ref().and_then(read_time);
            let missing = || Status::invalid_argument("opt_start_time is missing or invalid");
            DeliverPolicy::ByStartTime { start_time: time.ok_or_else(missing)? }
        }
    })
}

/// The description of a consumer, in the tenant's names.
pub(crate) fn from_consumer(tenant: &Tenant, info: &Info) -> pb::ConsumerInfo {
    pb::ConsumerInfo {
        stream_name: tenant.own_stream(&info.stream_name).unwrap_or_default().to_owned(),
        name: info.name.clone(),
        config: Some(from_config(tenant, &info.config)),
        state: Some(pb::ConsumerState {
            delivered_seq: saturating(info.delivered.stream_sequence),
            ack_floor_seq: saturating(info.ack_floor.stream_sequence),
            num_pending: saturating(info.num_pending),
            num_redelivered: saturating(info.num_redelivered),
        }),
        created: date(info.created),
    }
}

fn from_config(tenant: &Tenant, config: &Config) -> pb::ConsumerConfig {
    use pb::DeliveryPolicy::{
        DeliveryAll, DeliveryByStartSequence, DeliveryByStartTime, DeliveryLast, DeliveryLastPerSubject,
        DeliveryNew,
    };
    let (mut opt_start_seq, mut opt_start_time) = (0, None);
    let delivery_policy = match &config.deliver_policy {
        DeliverPolicy::All => DeliveryAll,
        DeliverPolicy::Last => DeliveryLast,
        DeliverPolicy::New => DeliveryNew,
        DeliverPolicy::LastPerSubject => DeliveryLastPerSubject,
        DeliverPolicy::ByStartSequence { start_sequence } => {
            opt_start_seq = saturating(*start_sequence);
            DeliveryByStartSequence
        }
        DeliverPolicy::ByStartTime { start_time } => {
            opt_start_time = date(*start_time);
            DeliveryByStartTime
        }
    };
    pb::ConsumerConfig {
        name: config.name.clone().unwrap_or_default(),
        durable_name: config.durable_name.clone().unwrap_or_default(),
        filter_subject: tenant.own_subject(&config.filter_subject).unwrap_or_default().to_owned(),
        delivery_policy: delivery_policy.into(),
        ack_policy: match config.ack_policy {
            AckPolicy::All => pb::AckPolicy::AckAll,
            AckPolicy::None => pb::AckPolicy::AckNone,
            _ => pb::AckPolicy::AckExplicit,
        }
        .into(),
        ack_wait: prost_types::Duration::try_from(config.ack_wait).ok(),
        max_deliver: saturating(config.max_deliver),
        replay_policy: match config.replay_policy {
            ReplayPolicy::Instant => pb::ReplayPolicy::ReplayInstant,
            ReplayPolicy::Original => pb::ReplayPolicy::ReplayOriginal,
        }
        .into(),
        opt_start_seq,
        opt_start_time,
        max_ack_pending: config.max_ack_pending,
    }
}
