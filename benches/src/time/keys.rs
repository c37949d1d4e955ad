//! One key exchange, as a client without a certificate makes it.

use std::io::{Read, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nts::records::{self, Grant, Reader};
use nts::{Key, Keys, export};
use rustix::net::{AddressFamily, SocketType};
use rustls::{ClientConnection, StreamOwned};

use super::server::Server;

/// How long one step of an exchange may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Exchanges keys with a server, from an address of this machine.
pub(crate) fn exchange(server: &Server, from: Ipv4Addr) -> Result<(Keys, Grant)> {
    let socket = connect(server.exchange, from)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let connection = ClientConnection::new(Arc::clone(&server.config), server.name.clone())?;
    let mut stream = StreamOwned::new(connection, socket);
    stream.write_all(&records::request())?;
    let mut reader = Reader::default();
    let mut room = [0; 2048];
    loop {
        let length = stream.read(&mut room)?;
        if length == 0 {
            bail!("the exchange ended early");
        }
        if reader.take(room.get(..length).unwrap_or_default())? {
            break;
        }
    }
    let key = |context: &[u8]| -> Result<Key> {
        let key = stream.conn.export_keying_material([0; 32], export::LABEL, Some(context))?;
        Ok(Key::new(key))
    };
    let keys = Keys { c2s: key(&export::C2S)?, s2c: key(&export::S2C)? };
    Ok((keys, Grant::read(&reader)?))
}

/// Servers bound what one address may ask for: the load has many.
fn connect(to: SocketAddr, from: Ipv4Addr) -> Result<TcpStream> {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    rustix::net::bind(&socket, &SocketAddr::from((from, 0)))?;
    rustix::net::connect(&socket, &to).context("the door of the exchange")?;
    let stream = TcpStream::from(socket);
    // The request follows the last of the handshake: the kernel would wait for the server's
    // acknowledgement of that, and the server's for more to acknowledge.
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The address of a number, one of 16 million that this machine has.
pub(crate) fn address(number: usize) -> Ipv4Addr {
    let [.., high, middle, low] = number.to_be_bytes();
    Ipv4Addr::new(127, high.saturating_add(1), middle, low)
}
