//! Options of the sockets of an Avro source, whichever runtime drives them.

use std::io;
use std::net::{SocketAddr, TcpStream};

use socket2::{Domain, Protocol, Socket, Type};

/// Flume's own.
const BACKLOG: i32 = 1024;

/// A socket that listens at `address`, beside the other shards' sockets at the same address.
pub(super) fn listen(address: SocketAddr) -> io::Result<Socket> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

/// Prepares a connection that was accepted.
pub(super) fn adopt(stream: TcpStream) -> io::Result<Socket> {
    stream.set_nonblocking(true)?;
    let socket = Socket::from(stream);
    socket.set_tcp_nodelay(true)?;
    socket.set_keepalive(true)?;
    Ok(socket)
}
