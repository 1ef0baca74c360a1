//! Where the configuration file is.

use std::path::{Path, PathBuf};

use super::env::Lookup;

const PLACES: [&str; 2] = ["./forebay.toml", "/etc/forebay/forebay.toml"];

/// No configuration file anywhere.
#[derive(Debug, thiserror::Error)]
#[error(
    "no configuration file: --config is not given, $FOREBAY_CONFIG is not set, and neither {} nor {} exists",
    PLACES[0],
    PLACES[1]
)]
pub struct NotFound;

/// The file of `--config`, else of `$FOREBAY_CONFIG`, else `./forebay.toml`, else `/etc/forebay/forebay.toml`. One that
/// was named is not looked for elsewhere: whether it exists shows when it is read.
pub fn find(flag: Option<&Path>, env: Lookup<'_>) -> Result<PathBuf, NotFound> {
    let named = flag.map(Path::to_path_buf);
    let named = named.or_else(|| env("FOREBAY_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from));
    let usual = || PLACES.iter().map(PathBuf::from).find(|path| path.exists());
    named.or_else(usual).ok_or(NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_goes_before_the_environment_before_the_usual_places() {
        let env = |name: &str| (name == "FOREBAY_CONFIG").then(|| "/from/env.toml".to_owned());
        assert_eq!(find(Some(Path::new("/flag.toml")), &env).unwrap(), Path::new("/flag.toml"));
        assert_eq!(find(None, &env).unwrap(), Path::new("/from/env.toml"));
    }

    #[test]
    fn a_file_that_is_nowhere_is_reported_with_every_place() {
        let message = NotFound.to_string();
        for place in ["--config", "$FOREBAY_CONFIG", "./forebay.toml", "/etc/forebay/forebay.toml"] {
            assert!(message.contains(place), "{message}");
        }
    }
}
