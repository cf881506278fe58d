//! Logs that are made of a fuzzer's bytes: valid headers around bodies of any content, without checksums.

use cachefront_binlog::BinlogFile;
use cachefront_core::source::{Columns, TableFilter};

/// The types of events whose order makes a transaction.
const GTID: u8 = 33;
const QUERY: u8 = 2;
const TABLE_MAP: u8 = 19;
const XID: u8 = 16;
const TRANSACTION_PAYLOAD: u8 = 40;

/// A log file in the making.
#[derive(Debug)]
pub(crate) struct Log {
    bytes: Vec<u8>,
}

impl Log {
    /// A log with its format description, which turns checksums off.
    pub(crate) fn new() -> Self {
        let mut log = Self { bytes: b"\xfebin".to_vec() };
        let mut body = vec![4, 0];
        body.extend(b"9.7.4");
        body.resize(56, 0);
        body.push(19);
        body.resize(57 + 42, 0);
        // The algorithm, and the checksum that this event always has.
        body.push(0);
        body.extend([0; 4]);
        log.event(15, &body);
        log
    }

    /// The file so far.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Adds an event.
    pub(crate) fn event(&mut self, kind: u8, body: &[u8]) {
        self.bytes.extend([0; 4]);
        self.bytes.push(kind);
        self.bytes.extend(1_u32.to_le_bytes());
        self.bytes.extend((19 + body.len() as u32).to_le_bytes());
        self.bytes.extend([0; 6]);
        self.bytes.extend(body);
    }

    /// Begins a transaction with this number.
    pub(crate) fn begin(&mut self, number: u64) {
        let mut body = vec![0; 17];
        body.extend(number.to_le_bytes());
        self.event(GTID, &body);
    }

    /// Adds a statement with these status variables.
    pub(crate) fn statement(&mut self, variables: &[u8], text: &[u8]) {
        let mut body = vec![7, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0];
        body.extend((variables.len() as u16).to_le_bytes());
        body.extend(variables);
        body.extend(b"shop\0");
        body.extend(text);
        self.event(QUERY, &body);
    }

    /// Adds a table map of table 7, `shop.users`, with these types and their metadata.
    pub(crate) fn table(&mut self, types: &[u8], metadata: &[u8], optional: &[u8]) {
        let mut body = vec![7, 0, 0, 0, 0, 0, 1, 0, 4];
        body.extend(b"shop\0\x05users\0");
        body.push(types.len() as u8);
        body.extend(types);
        body.push(metadata.len() as u8);
        body.extend(metadata);
        body.extend(vec![0xff; types.len().div_ceil(8)]);
        body.extend(optional);
        self.event(TABLE_MAP, &body);
    }

    /// Ends a transaction.
    pub(crate) fn commit(&mut self) {
        self.event(XID, &[0; 8]);
    }

    /// Reads the log in each way. Every way must end, in bounded memory, without a panic.
    pub(crate) fn read(&self) {
        let Ok(file) = BinlogFile::new(&self.bytes) else { return };
        let mut mapped = TableFilter::new();
        mapped.add("shop.users".into(), &Columns::Only(vec!["id".into()]));
        mapped.add("shop.Ü".into(), &Columns::All);
        for filter in [TableFilter::everything(), mapped] {
            file.transactions(&filter).for_each(drop);
        }
        if let Ok(tables) = file.tables() {
            file.inspect(&tables).take(1_000).for_each(drop);
        }
    }
}

/// Any events: a type, a length of two bytes, and a body, again and again.
pub(crate) fn events(mut data: &[u8]) {
    let mut log = Log::new();
    log.begin(1);
    while let [kind, low, high, rest @ ..] = data {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
        let (body, after) = rest.split_at(length);
        log.event(*kind, body);
        data = after;
    }
    log.read();
}

/// A compressed transaction: how it is compressed, by how much the size that it declares differs from that of its contents,
/// and these. The server sends its log as the same events.
pub(crate) fn payload(data: &[u8]) {
    let [choice, low, high, packed @ ..] = data else { return };
    let size = packed.len() as u64;
    let declared = match choice >> 6 {
        0 => size.wrapping_add_signed(i64::from(i16::from_le_bytes([*low, *high]))),
        1 => u64::from(u16::from_le_bytes([*low, *high])),
        _ => u64::from(u16::from_le_bytes([*low, *high])) << (choice & 0x3e),
    };
    let mut body = if choice & 1 == 0 { vec![2, 1, 0] } else { vec![2, 3, 0xfc, 255, 0] };
    body.extend([3, 9, 0xfe]);
    body.extend(declared.to_le_bytes());
    body.extend([1, 9, 0xfe]);
    body.extend(size.to_le_bytes());
    body.push(0);
    body.extend(packed);
    let mut log = Log::new();
    log.begin(1);
    log.event(TRANSACTION_PAYLOAD, &body);
    log.begin(2);
    log.commit();
    log.read();
}

/// A column of every type, and rows events of any content.
pub(crate) fn rows(data: &[u8]) {
    const TYPES: [u8; 24] =
        [3, 1, 2, 9, 8, 4, 5, 246, 13, 10, 17, 18, 19, 16, 15, 252, 254, 254, 254, 245, 242, 255, 140, 141];
    const METADATA: [u8; 34] = [
        4, 8, 10, 3, 6, 3, 0, 5, 1, 255, 0, 2, 254, 40, 247, 1, 248, 1, 4, 4, 4, 2, 255, 0, 7, 7, 7, 7, 7, 7, 7, 7, 7,
        7,
    ];
    let [kind, choice, data @ ..] = data else { return };
    // Some columns only, so that short inputs reach each type.
    let first = usize::from(*choice) % TYPES.len();
    let mut log = Log::new();
    log.begin(1);
    log.statement(&[], b"BEGIN");
    if choice & 0x80 == 0 {
        log.table(&TYPES, &METADATA, &[4, 2, 2, b'i', b'd']);
    } else {
        log.table(&TYPES[first..=first], &[4, 2, 3, 4], &[4, 3, 2, b'i', b'd']);
    }
    let mut body = vec![7, 0, 0, 0, 0, 0, 1, 0];
    body.extend(data);
    log.event([23, 24, 25, 30, 31, 32, 39, 166, 167, 168, 169, 170, 171][usize::from(*kind) % 13], &body);
    log.commit();
    log.read();
}

/// A statement of any session.
pub(crate) fn statements(data: &[u8]) {
    let [mode, collation_low, collation_high, text @ ..] = data else { return };
    let mut variables = vec![0, 0, 0, 0, 0, 1];
    variables.extend([mode & 4, 0, mode & 0x10, 0, 0, 0, 0, 0]);
    variables.extend([4, *collation_low, *collation_high, 0, 0, 0, 0]);
    let mut log = Log::new();
    log.begin(1);
    log.statement(if mode & 1 == 0 { &variables } else { &[] }, text);
    log.begin(2);
    log.statement(&[], b"BEGIN");
    log.statement(&variables, text);
    log.commit();
    log.read();
}

/// A JSON document of any content.
pub(crate) fn json(data: &[u8]) {
    let mut log = Log::new();
    log.begin(1);
    log.statement(&[], b"BEGIN");
    log.table(&[245], &[4], &[4, 3, 2, b'i', b'd']);
    let mut body = vec![7, 0, 0, 0, 0, 0, 1, 0, 2, 0, 1, 1, 0];
    body.extend((data.len() as u32).to_le_bytes());
    body.extend(data);
    log.event(30, &body);
    log.commit();
    log.read();
}
