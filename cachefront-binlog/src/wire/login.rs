//! The login: greeting, TLS, and authentication.
//!
//! | from | message |
//! |---|---|
//! | server | greeting: version, capabilities, a nonce, an authentication plug-in |
//! | client | request for TLS, if the URL or the builder asks for it; the handshake follows |
//! | client | user and password, scrambled with the nonce |
//! | server | OK, an error, another plug-in with a nonce of its own, or more data of the plug-in |
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase.html>. The plug-ins are
//! `caching_sha2_password` and `mysql_native_password`, and `mysql_clear_password` if the URL allows it. With
//! `caching_sha2_password` a server that does not have the password in its cache asks for it: it is sent over TLS, and
//! otherwise encrypted with the server's RSA key.

use std::panic::{AssertUnwindSafe, catch_unwind};

use mysql_async::consts::CapabilityFlags;
use mysql_async::{DriverError, Opts};
use mysql_common::collations::CollationId;
use mysql_common::crypto;
use mysql_common::io::ParseBuf;
use mysql_common::packets::{AuthPlugin, AuthSwitchRequest, HandshakePacket, HandshakeResponse, SslRequest};
use mysql_common::proto::MySerialize;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;

use super::packets::{DriverResult, LogConn, unexpected};
use super::tls;

/// Size of a nonce.
const NONCE_BYTES: usize = 20;

/// The maximum size of a packet that the client declares: the most that it can.
const PACKET_BYTES_MAX: u32 = 1 << 30;

/// First bytes of replies to an authentication.
mod reply {
    pub(super) const OK: u8 = 0x00;
    pub(super) const MORE: u8 = 0x01;
    pub(super) const SWITCH: u8 = 0xfe;
    /// After MORE: the password was in the server's cache.
    pub(super) const KNOWN: u8 = 0x03;
    /// After MORE: the server asks for the password.
    pub(super) const ASKED: u8 = 0x04;
}

/// Requests the server's RSA key.
const KEY_REQUEST: u8 = 0x02;

/// Connects and logs in.
///
/// # Errors
/// Those of the driver's own connections.
pub(crate) async fn connect(opts: &Opts) -> DriverResult<LogConn> {
    #[cfg(unix)]
    if let Some(path) = opts.socket() {
        let socket = UnixStream::connect(path).await?;
        return log_in(LogConn::over(Box::new(socket)), opts, true).await;
    }
    let stream = dial(opts).await?;
    log_in(LogConn::over(Box::new(stream)), opts, false).await
}

/// Connects over TCP, with the URL's options of the socket.
async fn dial(opts: &Opts) -> DriverResult<TcpStream> {
    let stream = TcpStream::connect((opts.ip_or_hostname(), opts.tcp_port())).await?;
    stream.set_nodelay(opts.tcp_nodelay())?;
    if let Some(silence) = opts.tcp_keepalive() {
        SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(silence))?;
    }
    Ok(stream)
}

/// Logs in on a new connection. `is_local` is true for a socket of the file system, which no other machine can read.
async fn log_in(mut conn: LogConn, opts: &Opts, is_local: bool) -> DriverResult<LogConn> {
    let packet = conn.reply().await?;
    let greeting = ParseBuf(&packet).parse::<HandshakePacket<'_>>(())?;
    let version = greeting.maria_db_server_version_parsed().or_else(|| greeting.server_version_parsed());
    conn.version = version.unwrap_or_default();
    let capabilities = greeting.capabilities() & wanted(opts);
    let mut is_private = is_local;
    if let Some(ssl) = opts.ssl_opts().filter(|_| !is_local) {
        if !capabilities.contains(CapabilityFlags::CLIENT_SSL) {
            return Err(DriverError::NoClientSslFlagFromServer.into());
        }
        let collation = CollationId::UTF8MB4_GENERAL_CI as u8;
        send(&mut conn, &SslRequest::new(capabilities, PACKET_BYTES_MAX, collation)).await?;
        // Bytes that came before the handshake are not the server's: they were not encrypted.
        if !conn.input.is_empty() {
            return Err(unexpected(&conn.input));
        }
        conn.io = tls::connect(ssl, opts.ip_or_hostname(), conn.io).await?;
        is_private = true;
    }
    let mut nonce = greeting.scramble_1_ref().to_vec();
    nonce.extend(greeting.scramble_2_ref().unwrap_or_default());
    nonce.resize(NONCE_BYTES, 0);
    let plugin = match greeting.auth_plugin() {
        Some(AuthPlugin::CachingSha2Password) => AuthPlugin::CachingSha2Password,
        _ => AuthPlugin::MysqlNativePassword,
    };
    let data = plugin.gen_data(opts.pass(), &nonce);
    let user = opts.user().map(str::as_bytes);
    let response = HandshakeResponse::new(
        data.as_deref(),
        conn.version,
        user,
        None::<&[u8]>,
        Some(plugin.borrow()),
        capabilities,
        None,
        PACKET_BYTES_MAX,
    );
    send(&mut conn, &response).await?;
    authenticate(&mut conn, opts, plugin, nonce, is_private).await?;
    if let Some(level) = opts.compression().filter(|_| capabilities.contains(CapabilityFlags::CLIENT_COMPRESS)) {
        conn.codec.compress(level);
    }
    if let Some(bytes_max) = opts.max_allowed_packet() {
        conn.limit(bytes_max);
    }
    Ok(conn)
}

/// The capabilities of the client, as far as the log needs it. Rows end with EOF packets, and the server may ask for no file.
fn wanted(opts: &Opts) -> CapabilityFlags {
    let mut wanted = CapabilityFlags::CLIENT_PROTOCOL_41
        | CapabilityFlags::CLIENT_SECURE_CONNECTION
        | CapabilityFlags::CLIENT_LONG_PASSWORD
        | CapabilityFlags::CLIENT_TRANSACTIONS
        | CapabilityFlags::CLIENT_PLUGIN_AUTH;
    wanted.set(CapabilityFlags::CLIENT_SSL, opts.ssl_opts().is_some());
    wanted.set(CapabilityFlags::CLIENT_COMPRESS, opts.compression().is_some());
    wanted
}

/// Exchanges messages until the server admits the user.
///
/// A server may change the plug-in once: the account has another one than the server's default. Each other message must be
/// one that the plug-in has, so that a server cannot ask for the password in a way that the URL does not allow.
async fn authenticate(
    conn: &mut LogConn,
    opts: &Opts,
    mut plugin: AuthPlugin<'static>,
    mut nonce: Vec<u8>,
    is_private: bool,
) -> DriverResult<()> {
    let mut switched = false;
    loop {
        let packet = conn.reply().await?;
        match (packet.first(), packet.get(1)) {
            (Some(&reply::OK), _) => return Ok(()),
            (Some(&reply::SWITCH), Some(_)) if !switched => {
                switched = true;
                let request = ParseBuf(&packet).parse::<AuthSwitchRequest<'_>>(())?;
                plugin = allowed(request.auth_plugin(), opts)?;
                nonce = request.plugin_data().to_vec();
                let mut data = Vec::new();
                if let Some(scrambled) = plugin.gen_data(opts.pass(), &nonce) {
                    scrambled.serialize(&mut data);
                }
                conn.send(&data).await?;
            }
            (Some(&reply::MORE), Some(&reply::KNOWN)) if plugin == AuthPlugin::CachingSha2Password => {}
            (Some(&reply::MORE), Some(&reply::ASKED)) if plugin == AuthPlugin::CachingSha2Password => {
                let mut password = opts.pass().unwrap_or_default().as_bytes().to_vec();
                password.push(0);
                if !is_private {
                    password = encrypted(conn, password, &nonce).await?;
                }
                conn.send(&password).await?;
            }
            _ => return Err(unexpected(&packet)),
        }
    }
}

/// Returns the plug-in that a server asks for, if the client has it.
fn allowed(plugin: AuthPlugin<'_>, opts: &Opts) -> DriverResult<AuthPlugin<'static>> {
    match plugin {
        AuthPlugin::CachingSha2Password | AuthPlugin::MysqlNativePassword => Ok(plugin.into_owned()),
        AuthPlugin::MysqlClearPassword if opts.enable_cleartext_plugin() => Ok(plugin.into_owned()),
        AuthPlugin::MysqlClearPassword => Err(DriverError::CleartextPluginDisabled.into()),
        AuthPlugin::MysqlOldPassword => Err(DriverError::MysqlOldPasswordDisabled.into()),
        other => {
            let name = String::from_utf8_lossy(other.as_bytes()).into_owned();
            Err(DriverError::UnknownAuthPlugin { name }.into())
        }
    }
}

/// Encrypts the password with the server's RSA key, which the server sends on request. Without TLS the client cannot verify
/// whose key it is, so only TLS protects the password against a server in between.
///
/// # Errors
/// `UnexpectedPacket` if the key cannot be used.
async fn encrypted(conn: &mut LogConn, mut password: Vec<u8>, nonce: &[u8]) -> DriverResult<Vec<u8>> {
    conn.send(&[KEY_REQUEST]).await?;
    let packet = conn.reply().await?;
    let key = packet.get(1..).ok_or_else(|| unexpected(&packet))?;
    for (byte, salt) in password.iter_mut().zip(nonce.iter().cycle()) {
        *byte ^= salt;
    }
    // The driver panics if the key is malformed, or too short for the password.
    catch_unwind(AssertUnwindSafe(|| crypto::encrypt(&password, key))).map_err(|_| unexpected(&packet))
}

/// Sends a message of the login.
async fn send(conn: &mut LogConn, message: &(impl MySerialize + Sync)) -> DriverResult<()> {
    let mut contents = Vec::new();
    message.serialize(&mut contents);
    conn.send(&contents).await
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mysql_async::Error as DriverFailure;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;
    use crate::scripted::greeting;

    /// Connects to a server that sends these packets at once, by a URL with these options.
    async fn refused(packets: Vec<Vec<u8>>, options: &str) -> DriverFailure {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let url = format!("mysql://repl:s3cret@{}/{options}", listener.local_addr().expect("its address"));
        let serving = async {
            let (mut client, _) = listener.accept().await.expect("a client");
            let mut bytes = Vec::new();
            for (number, packet) in packets.iter().enumerate() {
                bytes.extend((packet.len() as u32 | (2 * number as u32) << 24).to_le_bytes());
                bytes.extend(packet);
            }
            client.write_all(&bytes).await.expect("sent");
            client
        };
        let opts = Opts::from_url(&url).expect("a URL");
        let connecting = tokio::time::timeout(Duration::from_secs(10), connect(&opts));
        let (_client, outcome) = tokio::join!(serving, connecting);
        outcome.expect("it ends").expect_err("no login")
    }

    #[tokio::test]
    async fn bytes_before_the_tls_handshake_are_refused() {
        let ok = vec![0, 0, 0, 2, 0, 0, 0];
        let error = refused(vec![greeting(true), ok], "?require_ssl=true").await;
        assert!(matches!(error, DriverFailure::Driver(DriverError::UnexpectedPacket { .. })), "{error:?}");
        let error = refused(vec![greeting(false)], "?require_ssl=true").await;
        assert!(matches!(error, DriverFailure::Driver(DriverError::NoClientSslFlagFromServer)), "{error:?}");
    }

    #[tokio::test]
    async fn the_logs_connection_has_the_urls_options_of_the_socket() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let url = format!("mysql://repl@{}/", listener.local_addr().expect("its address"));
        for (options, keepalive, nodelay) in
            [("", false, true), ("?tcp_keepalive=42000", true, true), ("?tcp_nodelay=false", false, false)]
        {
            let opts = Opts::from_url(&format!("{url}{options}")).expect("a URL");
            let stream = dial(&opts).await.expect("a connection");
            let socket = SockRef::from(&stream);
            assert_eq!(socket.keepalive().expect("an option"), keepalive, "{options}");
            assert_eq!(stream.nodelay().expect("an option"), nodelay, "{options}");
            if keepalive {
                assert_eq!(socket.tcp_keepalive_time().expect("an option"), Duration::from_secs(42));
            }
        }
    }

    #[tokio::test]
    async fn a_server_cannot_ask_for_the_password_in_clear() {
        let switch = |plugin: &str| [&[reply::SWITCH], plugin.as_bytes(), b"\0saltsaltsaltsaltsalt\0"].concat();
        let error = refused(vec![greeting(false), switch("mysql_clear_password")], "").await;
        assert!(matches!(error, DriverFailure::Driver(DriverError::CleartextPluginDisabled)), "{error:?}");
        let error = refused(vec![greeting(false), switch("mysql_old_password")], "").await;
        assert!(matches!(error, DriverFailure::Driver(DriverError::MysqlOldPasswordDisabled)), "{error:?}");
        let error = refused(vec![greeting(false), switch("client_ed25519")], "").await;
        assert!(matches!(error, DriverFailure::Driver(DriverError::UnknownAuthPlugin { .. })), "{error:?}");
        // Of another plug-in than the account's.
        let error = refused(vec![greeting(false), vec![reply::MORE, reply::ASKED]], "").await;
        assert!(matches!(error, DriverFailure::Driver(DriverError::UnexpectedPacket { .. })), "{error:?}");
    }
}
