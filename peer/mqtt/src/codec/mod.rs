//! The packets of MQTT 3.1, 3.1.1 and 5.0: parsed strictly, written compactly.

mod acks;
mod connect;
mod decode;
mod encode;
mod error;
mod head;
mod leave;
mod packet;
mod properties;
mod publish;
mod read;
mod reason;
mod subscribe;
mod text;
mod user;

pub use decode::Decoder;
pub use encode::{Outgoing, encode, encode_connect, encode_publish, publish_bytes};
pub use error::DecodeError;
pub use packet::{
    Ack, Auth, ConnAck, Connect, Disconnect, Granted, Options, Packet, PacketId, Publish, Qos,
    RetainHandling, SubAck, Subscribe, Unsubscribe, Version, Will,
};
pub use reason::Reason;
pub use user::{push_user_property, user_properties};

#[cfg(test)]
mod tests;
