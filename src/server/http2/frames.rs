//! The frames that pass by in one direction of an HTTP/2 connection, by their heads alone (RFC 9113 section 4.1).

/// The client's connection preface (RFC 9113 section 3.4).
pub(super) const PREFACE: usize = 24;

/// Types of frames (RFC 9113 section 6).
pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// The head of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) length: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

/// Finds where frames begin, however the bytes are cut.
#[derive(Debug)]
pub(super) struct Frames {
    /// The present head, as far as it came.
    head: [u8; Head::LENGTH],
    came: usize,
    /// What is to come of the present payload.
    left: usize,
    /// Whether the present frame belongs to a head of a request, and whether it is the last one.
    is_of_head: bool,
    is_last_of_head: bool,
}

impl Frames {
    /// Begins after a preface of so many bytes.
    pub(super) fn after(preface: usize) -> Self {
        Self { head: [0; Head::LENGTH], came: 0, left: preface, is_of_head: true, is_last_of_head: true }
    }

    /// Takes the next bytes, and tells of each frame that begins in them.
    pub(super) fn pass(&mut self, mut bytes: &[u8], mut begins: impl FnMut(Head)) {
        loop {
            let of_payload = self.left.min(bytes.len());
            self.left -= of_payload;
            bytes = bytes.get(of_payload..).unwrap_or_default();
            if bytes.is_empty() {
                return;
            }
            let of_head = (Head::LENGTH - self.came).min(bytes.len());
            let missing = self.head.iter_mut().skip(self.came);
            missing.zip(bytes).for_each(|(place, byte)| *place = *byte);
            self.came += of_head;
            bytes = bytes.get(of_head..).unwrap_or_default();
            if self.came < Head::LENGTH {
                return;
            }
            let head = Head::of(self.head);
            self.came = 0;
            self.left = head.length;
            self.is_of_head = matches!(head.kind, HEADERS | CONTINUATION);
            self.is_last_of_head = head.flags & END_HEADERS != 0;
            begins(head);
        }
    }

    /// Whether the next byte begins a frame.
    pub(super) fn is_between(&self) -> bool {
        self.left == 0 && self.came == 0
    }

    /// Whether the head of a request, or the preface, has begun and is not complete.
    pub(super) fn is_within_head(&self) -> bool {
        self.is_of_head && (self.left > 0 || !self.is_last_of_head)
    }
}

impl Head {
    const LENGTH: usize = 9;

    fn of(bytes: [u8; Self::LENGTH]) -> Self {
        let [high, middle, low, kind, flags, stream @ ..] = bytes;
        let length = u32::from_be_bytes([0, high, middle, low]);
        let [first, second, third, fourth, ..] = stream;
        Self {
            length: usize::try_from(length).unwrap_or(usize::MAX),
            kind,
            flags,
            // The first bit is reserved.
            stream: u32::from_be_bytes([first & 0x7f, second, third, fourth]),
        }
    }

    pub(super) fn ends_stream(self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }
}

/// A GOAWAY without an identifier of its own for what was not looked at (RFC 9113 section 6.8).
pub(super) fn goaway(last_stream: u32, code: u32, why: &[u8]) -> Vec<u8> {
    let length = u8::try_from(8 + why.len()).unwrap_or(u8::MAX);
    let mut frame = vec![0, 0, length, GOAWAY, 0, 0, 0, 0, 0];
    frame.extend(last_stream.to_be_bytes());
    frame.extend(code.to_be_bytes());
    frame.extend(why.iter().take(usize::from(length) - 8));
    frame
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, length: usize) -> Vec<u8> {
        let mut frame = u32::try_from(length).unwrap().to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(vec![b'x'; length]);
        frame
    }

    proptest! {
        #[test]
        fn frames_are_found_however_the_bytes_are_cut(
            heads in prop::collection::vec((0_u8..12, any::<u8>(), 0_u32..1 << 31, 0_usize..300), 0..20),
            cuts in prop::collection::vec(1_usize..40, 1..50),
        ) {
            let mut bytes = vec![b'P'; PREFACE];
            heads.iter().for_each(|(kind, flags, stream, length)| bytes.extend(frame(*kind, *flags, *stream, *length)));
            let (mut frames, mut found, mut rest) = (Frames::after(PREFACE), Vec::new(), bytes.as_slice());
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (now, later) = rest.split_at((*cut).min(rest.len()));
                frames.pass(now, |head| found.push((head.kind, head.flags, head.stream, head.length)));
                rest = later;
            }
            prop_assert_eq!(found, heads);
            prop_assert!(frames.is_between());
        }
    }

    #[test]
    fn a_head_is_complete_with_its_last_byte() {
        let mut frames = Frames::after(0);
        let opening = frame(HEADERS, 0, 1, 5);
        let closing = frame(CONTINUATION, END_HEADERS, 1, 2);
        frames.pass(&opening[..8], |_| {});
        assert!(!frames.is_within_head() && Frames::after(PREFACE).is_within_head());
        for part in [&opening[8..12], &opening[12..], &closing[..10]] {
            frames.pass(part, |_| {});
            assert!(frames.is_within_head());
        }
        frames.pass(&closing[10..], |_| {});
        assert!(!frames.is_within_head());
    }

    #[test]
    fn a_goaway_is_a_whole_frame() {
        let mut frames = Frames::after(0);
        let mut heads = Vec::new();
        frames.pass(&goaway(7, 11, b"calm"), |head| heads.push((head.kind, head.length)));
        assert!(frames.is_between());
        assert_eq!(heads, [(GOAWAY, 12)]);
    }
}
