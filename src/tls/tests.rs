use std::fs;
use std::path::PathBuf;

use rcgen::{CertifiedKey as Made, generate_simple_self_signed};

use super::*;

struct Files(PathBuf);

impl Files {
    fn new(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("forebay-tls-{name}-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        Self(directory)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn made() -> (String, String) {
    let Made { cert, signing_key } = generate_simple_self_signed(["example.org".to_owned()]).unwrap();
    (cert.pem(), signing_key.serialize_pem())
}

#[test]
fn a_pair_is_read_with_its_chain() {
    let files = Files::new("pair");
    let ((leaf, key), (issuer, _)) = (made(), made());
    let cert = files.write("cert", &format!("a note\n{leaf}{issuer}"));
    let identity = identity(&cert, &files.write("key", &key), &provider()).unwrap();
    assert_eq!(identity.cert.len(), 2);
    assert_eq!(roots(&cert).unwrap().len(), 2);
}

#[test]
fn what_is_wrong_is_told_with_its_file_and_remedy() {
    let files = Files::new("wrong");
    let ((leaf, key), (_, other)) = (made(), made());
    let [cert, key, other] =
        [("cert", leaf), ("key", key), ("other", other)].map(|(n, t)| files.write(n, &t));
    let empty = files.write("empty", "");
    let torn = files.write("torn", "-----BEGIN CERTIFICATE-----\nMIIB\n");
    let sealed = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let sealed = files.write("sealed", sealed);
    let junk = files.write("junk", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let missing = files.0.join("missing");
    for (cert, key, file, message, help) in [
        (&cert, &other, &other, "does not belong to the certificate", "made for"),
        (&missing, &key, &missing, "cannot be read", "check the path"),
        (&files.0, &key, &files.0, "cannot be read", "name a file"),
        (&cert, &cert, &cert, "no private key", "holds `CERTIFICATE`"),
        (&key, &key, &key, "no certificate", "holds `PRIVATE KEY`"),
        (&empty, &key, &empty, "no certificate", "must be PEM"),
        (&torn, &key, &torn, "not valid PEM", "copy the file"),
        (&cert, &sealed, &sealed, "encrypted", "openssl pkey"),
        (&junk, &key, &junk, "not usable", "issued anew"),
    ] {
        let fault = identity(cert, key, &provider()).unwrap_err();
        assert!(fault.message.contains(message), "{fault}");
        assert!(fault.help.contains(help), "{fault}: {}", fault.help);
        assert_eq!(fault.path, *file, "{fault}");
    }
    assert!(roots(&junk).unwrap_err().message.contains("cannot be a root"));
}
