use tower_layer::Layer;

use crate::{Gateway, GatewayService};

/// Puts a [`Gateway`] in front of a service: what matches a route goes over NATS, all else to the service.
#[derive(Clone, Debug)]
pub struct GatewayLayer {
    gateway: Gateway,
}

impl GatewayLayer {
    pub(crate) const fn new(gateway: Gateway) -> Self {
        Self { gateway }
    }
}

impl<S> Layer<S> for GatewayLayer {
    type Service = GatewayService<S>;

    fn layer(&self, inner: S) -> GatewayService<S> {
        GatewayService::new(inner, self.gateway.clone())
    }
}
