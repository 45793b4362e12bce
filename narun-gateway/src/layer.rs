use std::sync::Arc;

use tower_layer::Layer;

use crate::service::GatewayService;
use crate::state::GatewayState;

/// Puts a [`Gateway`](crate::Gateway) in front of a service: requests that match a route go over NATS, all others to the service.
#[derive(Clone, Debug)]
pub struct GatewayLayer {
    state: Arc<GatewayState>,
}

impl GatewayLayer {
    pub(crate) const fn new(state: Arc<GatewayState>) -> Self {
        Self { state }
    }
}

impl<S> Layer<S> for GatewayLayer {
    type Service = GatewayService<S>;

    fn layer(&self, inner: S) -> GatewayService<S> {
        GatewayService::new(inner, self.state.clone())
    }
}
