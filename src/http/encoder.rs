//! Writes a content coding piece by piece. What was written can be taken out at any time; flushed, all of it can be read.
//!
//! The levels are those of a sidecar, which shares its cores with the program it serves. An encoder takes less than a
//! megabyte, however long the body; and there are never more of them than [`MOST`], for a client that does not read keeps
//! its own, and over HTTP/2 may ask for a hundred on one connection.

use std::fmt;
use std::io::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering};

use brotli::CompressorWriter;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use zstd::stream::raw::CParameter;
use zstd::stream::write::Encoder as ZstdEncoder;

use super::coding::Coding;

const GZIP_LEVEL: u32 = 5;
const BROTLI_LEVEL: u32 = 3;
const ZSTD_LEVEL: i32 = 3;

/// How far back repetitions are found, as powers of two: 64 KiB, and 128 KiB.
const BROTLI_WINDOW: u32 = 16;
const ZSTD_WINDOW: u32 = 17;

/// Encoders at the same time, in the whole process: about a hundred megabytes at the worst.
pub const MOST: usize = 128;

static ALIVE: AtomicUsize = AtomicUsize::new(0);

/// A body on its way into a coding.
pub struct Encoder {
    inner: Inner,
    _place: Place,
}

/// One of [`MOST`]; dropped, it is free again.
struct Place;

impl Place {
    fn take() -> Option<Self> {
        let one_more = |alive| (alive < MOST).then_some(alive + 1);
        ALIVE.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok().map(|_| Self)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        ALIVE.fetch_sub(1, Ordering::Relaxed);
    }
}

enum Inner {
    Gzip(GzEncoder<Vec<u8>>),
    Brotli(Box<CompressorWriter<Vec<u8>>>),
    Zstd(ZstdEncoder<'static, Vec<u8>>),
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder").finish_non_exhaustive()
    }
}

impl Encoder {
    /// Begins a body.
    ///
    /// # Errors
    /// There is no memory for it, or there are [`MOST`] already.
    pub fn new(coding: Coding) -> io::Result<Self> {
        let place = Place::take().ok_or(io::ErrorKind::OutOfMemory)?;
        let inner = match coding {
            Coding::Gzip => Inner::Gzip(GzEncoder::new(Vec::new(), Compression::new(GZIP_LEVEL))),
            Coding::Brotli => {
                Inner::Brotli(Box::new(CompressorWriter::new(Vec::new(), 4096, BROTLI_LEVEL, BROTLI_WINDOW)))
            }
            Coding::Zstd => {
                let mut encoder = ZstdEncoder::new(Vec::new(), ZSTD_LEVEL)?;
                encoder.set_parameter(CParameter::WindowLog(ZSTD_WINDOW))?;
                encoder.set_parameter(CParameter::HashLog(ZSTD_WINDOW - 1))?;
                encoder.set_parameter(CParameter::ChainLog(ZSTD_WINDOW - 2))?;
                Inner::Zstd(encoder)
            }
        };
        Ok(Self { inner, _place: place })
    }

    /// Takes the next bytes in.
    ///
    /// # Errors
    /// The coding's library fails.
    pub fn write(&mut self, data: &[u8]) -> io::Result<()> {
        self.writer().write_all(data)
    }

    /// Everything that was taken in comes out, at the cost of a few bytes.
    ///
    /// # Errors
    /// As [`Encoder::write`].
    pub fn flush(&mut self) -> io::Result<()> {
        self.writer().flush()
    }

    /// How much can be taken out, in bytes.
    pub fn ready(&mut self) -> usize {
        self.output().len()
    }

    /// What has come out since the last time.
    pub fn take(&mut self) -> Bytes {
        std::mem::take(self.output()).into()
    }

    /// The end of the body: the rest.
    ///
    /// # Errors
    /// As [`Encoder::write`].
    pub fn finish(self) -> io::Result<Bytes> {
        Ok(match self.inner {
            Inner::Gzip(encoder) => encoder.finish()?,
            Inner::Brotli(encoder) => encoder.into_inner(),
            Inner::Zstd(encoder) => encoder.finish()?,
        }
        .into())
    }

    fn writer(&mut self) -> &mut dyn Write {
        match &mut self.inner {
            Inner::Gzip(encoder) => encoder,
            Inner::Brotli(encoder) => encoder,
            Inner::Zstd(encoder) => encoder,
        }
    }

    fn output(&mut self) -> &mut Vec<u8> {
        match &mut self.inner {
            Inner::Gzip(encoder) => encoder.get_mut(),
            Inner::Brotli(encoder) => encoder.get_mut(),
            Inner::Zstd(encoder) => encoder.get_mut(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Read as _;

    use proptest::prelude::*;

    use super::*;

    /// What a client makes of it; as much of it as can be read where it breaks off.
    pub(crate) fn decoded(coding: Coding, bytes: &[u8]) -> Vec<u8> {
        let mut whole = Vec::new();
        let _ = match coding {
            Coding::Gzip => flate2::read::GzDecoder::new(bytes).read_to_end(&mut whole),
            Coding::Brotli => brotli::Decompressor::new(bytes, 4096).read_to_end(&mut whole),
            Coding::Zstd => {
                zstd::stream::read::Decoder::new(bytes).and_then(|mut zstd| zstd.read_to_end(&mut whole))
            }
        };
        whole
    }

    #[test]
    fn what_was_flushed_can_be_read_before_the_rest_is_there() {
        for coding in Coding::ALL {
            let mut encoder = Encoder::new(coding).unwrap();
            encoder.write(b"{\"first\":1}\n").unwrap();
            encoder.flush().unwrap();
            assert_eq!(decoded(coding, &encoder.take()), b"{\"first\":1}\n", "{coding:?}");
        }
    }

    #[test]
    fn text_shrinks() {
        let text = (0..2000).map(|n| format!("{{\"id\":{n},\"status\":\"running\"}},")).collect::<String>();
        for coding in Coding::ALL {
            let mut encoder = Encoder::new(coding).unwrap();
            encoder.write(text.as_bytes()).unwrap();
            let coded = encoder.finish().unwrap();
            assert!(coded.len() * 4 < text.len(), "{coding:?}: {} of {}", coded.len(), text.len());
        }
    }

    #[test]
    fn an_encoder_takes_less_than_a_megabyte() {
        // zstd's memory is not ours to count; its parameters bound it: 256 KiB + 128 KiB of tables, window and buffers.
        for coding in [Coding::Gzip, Coding::Brotli] {
            let text = "so many words ".repeat(100_000);
            let used = allocation_counter::measure(|| {
                let mut encoder = Encoder::new(coding).unwrap();
                for piece in text.as_bytes().chunks(16 * 1024) {
                    encoder.write(piece).unwrap();
                    encoder.take();
                }
            });
            assert!(used.bytes_max < 1 << 20, "{coding:?}: {}", used.bytes_max);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_come_out_as_they_went_in(pieces in prop::collection::vec(
            (prop::collection::vec(any::<u8>(), 0..300), any::<bool>()), 0..12,
        )) {
            for coding in Coding::ALL {
                let mut encoder = Encoder::new(coding).unwrap();
                let mut coded = Vec::new();
                for (piece, is_flushed) in &pieces {
                    encoder.write(piece).unwrap();
                    if *is_flushed {
                        encoder.flush().unwrap();
                    }
                    coded.extend_from_slice(&encoder.take());
                }
                coded.extend_from_slice(&encoder.finish().unwrap());
                let whole: Vec<u8> = pieces.iter().flat_map(|(piece, _)| piece.clone()).collect();
                prop_assert_eq!(decoded(coding, &coded), whole, "{:?}", coding);
            }
        }
    }
}
