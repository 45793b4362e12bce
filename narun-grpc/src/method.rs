/// The methods of the contract.
macro_rules! methods {
    ($($method:ident)*) => {
        /// A method of the service.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        // The methods are documented in the contract.
        #[allow(missing_docs)]
        pub enum Method {
            $($method),*
        }

        impl Method {
            /// All methods, in the order of the contract.
            pub const ALL: &[Self] = &[$(Self::$method),*];

            /// The name in the contract.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$method => stringify!($method)),*
                }
            }

            /// The method with this path.
            pub(crate) fn of_path(path: &str) -> Option<Self> {
                let (service, name) = path.strip_prefix('/')?.split_once('/')?;
                match name {
                    $(stringify!($method) if service == crate::SERVICE => Some(Self::$method),)*
                    _ => None,
                }
            }
        }
    };
}

methods! {
    Publish PublishBatch Subscribe Unsubscribe Request QueueSubscribe
    CreateStream DeleteStream GetStreamInfo ListStreams UpdateStream PurgeStream
    CreateConsumer DeleteConsumer GetConsumerInfo ListConsumers
    PublishToStream PullMessages ConsumeMessages AckMessage NakMessage
    KVPut KVGet KVDelete KVKeys KVHistory KVWatch
    ObjectPut ObjectGet ObjectDelete ObjectList ObjectUpload ObjectDownload
    GetStatistics GetStreamStats
    HealthCheck
}
