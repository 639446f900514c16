//! What `deploy/Dockerfile` says of an image: the part that Kubernetes' manifests rely on.

use millrace_tests::failure::{Context, Result};
use millrace_tests::stack::repository;

/// One target of the Dockerfile, with what it inherits.
#[derive(Debug, Default)]
pub(super) struct Image {
    /// `ENTRYPOINT`
    pub(super) entrypoint: Vec<String>,
    /// `USER`
    pub(super) user: String,
    /// `EXPOSE`
    pub(super) port: u16,
    /// `STOPSIGNAL`
    pub(super) stop_signal: String,
    /// The default of `ARG VERSION`
    pub(super) version: String,
}

/// The instructions, each with its arguments, comments left out and lines joined.
fn instructions() -> Result<Vec<(String, String)>> {
    let path = repository().join("deploy/Dockerfile");
    let text = std::fs::read_to_string(&path).context(path.display())?;
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let joined = lines.join("\n").replace("\\\n", " ");
    Ok(joined.lines().filter_map(|line| line.split_once(' ')).map(|(name, rest)| (name.to_owned(), rest.trim().to_owned())).collect())
}

/// The image that each stage starts from, with the stage's name.
pub(super) fn stages() -> Result<Vec<(String, String)>> {
    let stage = |rest: String| rest.split_once(" AS ").map(|(base, name)| (base.to_owned(), name.to_owned()));
    Ok(instructions()?.into_iter().filter(|(name, _)| name == "FROM").filter_map(|(_, rest)| stage(rest)).collect())
}

/// The image of a target.
pub(super) fn image(target: &str) -> Result<Image> {
    let stages = stages()?;
    let (base, _) = stages.iter().find(|(_, name)| name == target).context(format_args!("no stage {target} in deploy/Dockerfile"))?;
    let mut image = if stages.iter().any(|(_, name)| name == base) { self::image(base)? } else { Image::default() };
    let all = instructions()?;
    let within = all.iter().skip_while(|(name, rest)| name != "FROM" || !rest.ends_with(&format!(" AS {target}"))).skip(1);
    for (name, rest) in within.take_while(|(name, _)| name != "FROM") {
        match name.as_str() {
            "ENTRYPOINT" => image.entrypoint = serde_json::from_str(rest).context("ENTRYPOINT is not in its JSON form")?,
            "USER" => image.user.clone_from(rest),
            "EXPOSE" => image.port = rest.parse().context(format_args!("EXPOSE {rest}"))?,
            "STOPSIGNAL" => image.stop_signal.clone_from(rest),
            "ARG" => {
                if let Some(version) = rest.strip_prefix("VERSION=") {
                    image.version = version.to_owned();
                }
            }
            _ => {}
        }
    }
    Ok(image)
}
