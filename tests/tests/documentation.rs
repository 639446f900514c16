//! The documents that are made from the code are the ones the code makes.

use std::process::Command;

use millrace_tests::failure::Result;
use millrace_tests::processes::Binary;
use millrace_tests::scenario::must;
use millrace_tests::stack;

fn settings_of(binary: Binary) -> Result<String> {
    let output = Command::new(binary.path()?).arg("settings").output()?;
    must(output.status.success(), || format!("{} settings: {}", binary.name(), output.status))?;
    Ok(String::from_utf8(output.stdout)?)
}

#[test]
fn the_settings_reference_is_what_the_binaries_print() {
    let written = std::fs::read_to_string(stack::repository().join("docs/reference/settings.md")).unwrap();
    let printed = format!("{}\n{}", settings_of(Binary::Producer).unwrap(), settings_of(Binary::Consumer).unwrap());
    assert!(written == printed, "docs/reference/settings.md is not what the binaries print: run `make docs`");
}

#[test]
fn links_between_documents_lead_somewhere() {
    let repository = stack::repository();
    let mut documents: Vec<_> =
        ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "deploy/local/README.md"]
            .map(|name| repository.join(name))
            .to_vec();
    for folder in ["docs/how-to", "docs/reference", "docs/decisions"] {
        documents.extend(std::fs::read_dir(repository.join(folder)).unwrap().map(|entry| entry.unwrap().path()));
    }
    let mut links = 0;
    for document in documents {
        let text = std::fs::read_to_string(&document).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = target.split('#').next().unwrap_or_default();
            if path.is_empty() || path.contains("://") {
                continue;
            }
            links += 1;
            assert!(document.parent().unwrap().join(path).exists(), "{} links to {target}, which isn't there", document.display());
        }
    }
    assert!(links > 5, "only {links} links were looked at");
}
