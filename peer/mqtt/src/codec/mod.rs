//! The packets of MQTT 3.1, 3.1.1 and 5.0: parsed strictly, written compactly.

mod packet;
mod reason;

pub use packet::{
    Ack, Auth, ConnAck, Connect, Disconnect, Granted, Options, Packet, PacketId, Publish, Qos,
    RetainHandling, SubAck, Subscribe, Unsubscribe, Version, Will,
};
pub use reason::Reason;
