//! Frames over NATS: to a consumer, and to a gateway.

pub(super) mod bytes;
mod consumer;
mod gateway;

use super::report::Report;
use super::site::Site;
use crate::Error;

pub(super) async fn send(site: &Site, report: &mut Report) -> Result<(), Error> {
    let client = async_nats::connect(site.nats().url()).await?;
    consumer::send(&client, report).await?;
    gateway::send(&client, site, report).await
}
