//! Opens a file of a bundle as plain JSON text: unpacked, and without the mark that some editors and shells put first.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use flate2::bufread::MultiGzDecoder;

/// More than any list of a cluster has, unpacked; what is larger was made to exhaust its reader.
const LARGEST: u64 = 64 << 30;
const BUFFER: usize = 256 << 10;

const GZIP: &[u8] = &[0x1f, 0x8b];
const UTF8_MARK: &[u8] = &[0xef, 0xbb, 0xbf];
const UTF16_MARKS: [&[u8]; 2] = [&[0xff, 0xfe], &[0xfe, 0xff]];

/// The text of a file.
pub(crate) type Text = BufReader<Box<dyn Read>>;

/// Opens a file. What it is packed with is told by its first bytes, not by its name.
pub(crate) fn open(path: &Path) -> io::Result<Text> {
    let mut packed = BufReader::with_capacity(BUFFER, File::open(path)?);
    let plain: Box<dyn Read> =
        if packed.fill_buf()?.starts_with(GZIP) { Box::new(MultiGzDecoder::new(packed)) } else { Box::new(packed) };
    let limited: Box<dyn Read> = Box::new(plain.take(LARGEST));
    let mut text = BufReader::with_capacity(BUFFER, limited);
    let start = text.fill_buf()?;
    if UTF16_MARKS.iter().any(|mark| start.starts_with(mark)) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "it is UTF-16, which some shells write for `>`: save it as UTF-8",
        ));
    }
    if start.starts_with(UTF8_MARK) {
        text.consume(UTF8_MARK.len());
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn text_of(bytes: &[u8]) -> io::Result<String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.json");
        std::fs::write(&path, bytes).unwrap();
        let mut text = String::new();
        open(&path)?.read_to_string(&mut text)?;
        Ok(text)
    }

    #[test]
    fn packed_or_marked_it_is_the_same_text() {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(b"\xef\xbb\xbf{}").unwrap();
        for bytes in [b"{}".to_vec(), b"\xef\xbb\xbf{}".to_vec(), gzip.finish().unwrap()] {
            assert_eq!(text_of(&bytes).unwrap(), "{}");
        }
        assert_eq!(text_of(b"").unwrap(), "");
    }

    #[test]
    fn other_encodings_are_named_and_broken_packing_is_an_error() {
        assert!(text_of(b"\xff\xfe{\0}\0").unwrap_err().to_string().contains("UTF-16"));
        assert!(text_of(&[0x1f, 0x8b, 8, 0, 0]).is_err());
    }
}
