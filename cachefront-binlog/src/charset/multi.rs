//! Where characters end in the character sets of East Asia. The second byte of a character may be a backslash or a backtick,
//! so a statement cannot be split into words without this.

/// A character set with one to four bytes per character. All of them contain ASCII.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Multi {
    Big5,
    /// `sjis` and `cp932`.
    ShiftJis,
    /// `ujis` and `eucjpms`.
    EucJp,
    EucKr,
    Gb2312,
    Gbk,
    Gb18030,
}

impl Multi {
    /// The character set of this name.
    pub(super) fn of_name(name: &str) -> Option<Self> {
        Some(match name {
            "big5" => Self::Big5,
            "sjis" | "cp932" => Self::ShiftJis,
            "ujis" | "eucjpms" => Self::EucJp,
            "euckr" => Self::EucKr,
            "gb2312" => Self::Gb2312,
            "gbk" => Self::Gbk,
            "gb18030" => Self::Gb18030,
            _ => return None,
        })
    }

    /// The number of bytes of the first character. A byte that begins no character counts as one, as in the server's own
    /// lexer (`my_ismbchar`).
    pub(crate) fn width(self, bytes: &[u8]) -> usize {
        let high = |byte| matches!(byte, 0xa1..=0xfe);
        match (self, bytes) {
            (Self::Big5, [0xa1..=0xf9, 0x40..=0x7e | 0xa1..=0xfe, ..]) => 2,
            (Self::ShiftJis, [0x81..=0x9f | 0xe0..=0xfc, 0x40..=0x7e | 0x80..=0xfc, ..]) => 2,
            (Self::EucJp, [0x8e, 0xa0..=0xdf, ..]) => 2,
            (Self::EucJp, [0x8f, second, third, ..]) if high(*second) && high(*third) => 3,
            (Self::EucJp, [first, second, ..]) if high(*first) && high(*second) => 2,
            (Self::EucKr, [0x81..=0xfe, 0x41..=0x5a | 0x61..=0x7a | 0x81..=0xfe, ..]) => 2,
            (Self::Gb2312, [0xa1..=0xf7, second, ..]) if high(*second) => 2,
            (Self::Gbk, [0x81..=0xfe, 0x40..=0x7e | 0x80..=0xfe, ..]) => 2,
            (Self::Gb18030, [0x81..=0xfe, 0x40..=0x7e | 0x80..=0xfe, ..]) => 2,
            (Self::Gb18030, [0x81..=0xfe, 0x30..=0x39, 0x81..=0xfe, 0x30..=0x39, ..]) => 4,
            _ => 1,
        }
    }
}
